"""What ``attn diff`` does behind its options; torch is imported here."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from attn_cli.commands.paging import relative_size, write_out
from attn_cli.commands.paging_files import PairsPlan
from attn_cli.commands.showing import Showing
from attn_cli.differences.calls import Pair
from attn_cli.differences.maps import MapSize
from attn_cli.differences.runner import DiffOptions, diff
from attn_cli.differences.sides import Side
from attn_cli.inputs.options import ReadOptions
from attn_cli.reporters.atomic import together
from attn_cli.reporters.html import PageRequest
from attn_cli.reporters.html.diff_story import diff_page
from attn_cli.reporters.json_report import diff_document, write_document
from attn_cli.reporters.progress import progress_bar
from attn_cli.reporters.terminal import render_diff
from attn_cli.reporters.terminal.console import make_console
from attn_cli.reporters.terminal.diff_pictures import map_limits


@dataclass(frozen=True)
class SideRequest:
    """One side as asked for on the command line."""

    read: ReadOptions
    device: str
    dtype: str | None
    backend: str
    device_flag: str = "--device"
    backend_flag: str = "--backend"


@dataclass(frozen=True)
class DiffRequest:
    """Both sides, what counts as equal, and how to tell of it."""

    left: SideRequest
    right: SideRequest
    is_one_input: bool
    atol: float | None
    rtol: float | None
    json_output: bool
    screenshot: str | None = None
    page: PageRequest | None = None


def run_diff(request: DiffRequest) -> int:
    """Compare and report.

    Returns:
        1 where something differs, else 0.
    """
    left, right = (Side(**vars(one)) for one in (request.left, request.right))
    has_maps = not request.json_output or request.page is not None
    size = MapSize(*map_limits(make_console().width)) if has_maps else None
    show = None if request.page is None else partial(_pairs_plan, request.page)
    options = DiffOptions(left, right, request.is_one_input, request.atol, request.rtol, size, show)
    with progress_bar("comparing") as progress:
        result = diff(options, progress)
    showing, shown = Showing(request.screenshot), partial(render_diff, result)
    with together():
        if request.page is not None:
            run, story = diff_page(result)
            write_out(run, request.page, story)
        showing.draw(shown)
        document = diff_document(result) if request.json_output else None
    if document is not None:
        write_document(document, sys.stdout)
    else:
        showing.show(shown)
    return int(not result.within)


def _pairs_plan(page: PageRequest, pairs: Sequence[Pair]) -> PairsPlan:
    return PairsPlan(page, [relative_size(left) for left, _ in pairs])
