"""What ``attn diff`` does behind its options; torch is imported here."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from attn_cli.differences.maps import MapSize
from attn_cli.differences.runner import DiffOptions, diff
from attn_cli.differences.sides import Side
from attn_cli.inputs.options import ReadOptions
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


def run_diff(request: DiffRequest) -> int:
    """Compare and report.

    Returns:
        1 where something differs, else 0.
    """
    left, right = (Side(**vars(one)) for one in (request.left, request.right))
    shown = None if request.json_output else MapSize(*map_limits(make_console().width))
    options = DiffOptions(left, right, request.is_one_input, request.atol, request.rtol, shown)
    with progress_bar("comparing") as progress:
        result = diff(options, progress)
    if request.json_output:
        write_document(diff_document(result), sys.stdout)
    else:
        render_diff(result, make_console())
    return int(not result.within)
