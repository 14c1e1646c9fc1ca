"""What ``attn run`` and ``attn demo`` share behind their options; torch is imported here."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from attn_cli.attention.types import ModuleInputs
from attn_cli.benchmark.timing import ENOUGH_SECONDS
from attn_cli.commands.paging import PagePlan, listed_pairs, write_out
from attn_cli.commands.reading import files_of
from attn_cli.commands.showing import Render, Showing
from attn_cli.inputs.loading import judge_all
from attn_cli.inputs.options import ReadOptions
from attn_cli.inputs.source import open_calls
from attn_cli.inputs.types import LoadedCall
from attn_cli.inspection.coarser import coarser
from attn_cli.inspection.options import DetailOptions, InspectOptions, Zoom
from attn_cli.inspection.ranking import Order
from attn_cli.pipeline import RunOptions, run_call
from attn_cli.reporters.atomic import together
from attn_cli.reporters.figures import FigureRequest, write_run_figures
from attn_cli.reporters.html import PageRequest
from attn_cli.reporters.json_report import run_document, write_document
from attn_cli.reporters.progress import progress_bar
from attn_cli.reporters.saved import check_save, save_outputs
from attn_cli.reporters.terminal import picture_limits, render_run
from attn_cli.reporters.terminal.console import make_console
from attn_cli.results import CallResult, RunResult

Progress = Callable[[int, int], None]
PICTURE = 64
THUMBNAIL = 16  # cells of a side where no picture is shown, so that thousands of calls can be held
FIGURE = 256  # cells of a side in a figure: finer ones cannot be told apart in print
FIGURE_OF_SEVERAL = 32  # the same where it shows every head of several calls
TIMING_SECONDS = 2.0  # for all calls together
JSON_BYTES = 100  # of memory for each number of a document: as Python's own, in its list and as text


@dataclass(frozen=True)
class RunRequest:
    """How to run and what to give out, as asked for on the command line."""

    command: str
    device: str
    dtype: str | None
    backend: str
    repeat: int | None
    top: int
    similarity: bool
    weights: bool
    json_output: bool
    save: str | None
    zoom: Zoom | None = None
    metric: str | None = None
    order: Order | None = None
    figures: FigureRequest | None = None
    page: PageRequest | None = None
    screenshot: str | None = None


def run_file(read: ReadOptions, request: RunRequest) -> int:
    """Run and report every call of a file that ``read`` selects."""
    check_save(request.save, onto=files_of(read))
    start = time.perf_counter()
    with open_calls(read) as source:
        judge_all(source.plans)
        results = []
        page = PagePlan.of(request.page, source.plans, request.top)
        with progress_bar() as progress:
            for number, plan in enumerate(source.plans):
                call = plan.load()
                load_ms = (time.perf_counter() - start) * 1e3
                part = part_of(progress, number, len(source.plans))
                detail = None if page is None else page.next(call)
                results.append(run_one(call, request, load_ms, part, calls=len(source.plans), detail=detail))
                start = time.perf_counter()
    return report(RunResult(request.command, tuple(results), request.metric, request.order), request)


def part_of(progress: Progress, number: int, count: int) -> Progress:
    """Progress of one call out of several, told as progress of all."""
    return lambda done, total: progress(number * total + done, count * total)


def run_one(
    call: LoadedCall,
    request: RunRequest,
    load_ms: float,
    progress: Progress,
    *,
    calls: int = 1,
    detail: DetailOptions | None = None,
) -> CallResult:
    """Run one call out of so many; its pictures are as fine as the finest of what will show them."""
    rows, columns = _picture_size(call, request, is_alone=calls == 1)
    if detail is not None:
        rows, columns = max(rows, detail.picture_rows), max(columns, detail.picture_columns)
    top = request.top if detail is None else listed_pairs(request.top)
    shows_weights = request.weights and (request.json_output or request.save is not None)
    inspect = InspectOptions(top, shows_weights, request.similarity, rows, columns, zoom=request.zoom, detail=detail)
    options = RunOptions(
        request.device, request.dtype, request.backend, request.repeat, inspect,
        keep_outputs=request.save is not None, timing_seconds=min(ENOUGH_SECONDS, TIMING_SECONDS / calls),
        calls=calls, bytes_a_number=JSON_BYTES if request.json_output else 0,
    )  # fmt: skip
    return run_call(call, options, load_ms, progress)


def _picture_size(call: LoadedCall, request: RunRequest, *, is_alone: bool) -> tuple[int, int]:
    """Rows and columns of cells at most, in the largest of all that is given out."""
    heads, queries = (_shown_heads(call), len(call.inputs.rules.mask.places)) if is_alone else (0, 0)
    rows, columns = _printed_size(request, heads, queries, is_alone=is_alone)
    if request.figures is None:
        return rows, columns
    side = _figure_size(is_alone=is_alone)
    return max(rows, side), max(columns, side)


def _figure_size(*, is_alone: bool) -> int:
    return FIGURE if is_alone else FIGURE_OF_SEVERAL


def _printed_size(request: RunRequest, heads: int, queries: int, *, is_alone: bool) -> tuple[int, int]:
    """Rows and columns of cells that the terminal or the JSON has at most. Only a zoom's are in the JSON."""
    if request.json_output:
        return (PICTURE, PICTURE) if is_alone or request.zoom is not None else (THUMBNAIL, THUMBNAIL)
    if not is_alone:
        return THUMBNAIL, THUMBNAIL
    last = None if request.zoom is None else _last_query(queries, request.zoom)
    return picture_limits(make_console().width, heads, last)


def _shown_heads(call: LoadedCall) -> int:
    if call.selection.heads is not None:
        return len(call.selection.heads)
    return call.inputs.num_heads if isinstance(call.inputs, ModuleInputs) else call.inputs.q.shape[1]


def _last_query(queries: int, zoom: Zoom) -> int:
    return (queries if zoom.query_stop is None else zoom.query_stop) - 1


def report(
    result: RunResult,
    request: RunRequest,
    above: Sequence[Render] = (),
    save: Callable[[str], None] | None = None,
) -> int:
    """Write what is to be written, all of it or nothing, then print the report. Returns the exit code.

    Args:
        result: what ran.
        request: how to give it out.
        above: what is printed above the report.
        save: writes the file that ``--save`` names; what was computed where it is None.
    """
    showing, printed = Showing(request.screenshot), _printed(result, request)
    shown: list[Render] = [*above, partial(render_run, printed)]
    with together():
        if request.save is not None:
            (save or partial(save_outputs, result))(request.save)
        if request.figures is not None:
            write_run_figures(_drawn(result), request.figures)
        if request.page is not None:
            write_out(result, request.page)
        showing.draw(*shown)
        document = run_document(printed) if request.json_output else None
    if document is not None:
        write_document(document, sys.stdout)
    else:
        for render in shown:
            showing.show(render)
    return 0


def _drawn(result: RunResult) -> RunResult:
    """The result with pictures that fit a figure, where the page had them finer."""
    side = _figure_size(is_alone=len(result.calls) == 1)
    return replace(result, calls=tuple(_with_pictures_of(call, side, side) for call in result.calls))


def _printed(result: RunResult, request: RunRequest) -> RunResult:
    """The result with pictures that fit what is printed, and as many pairs, where another output had more."""
    calls = (_printed_call(call, request, is_alone=len(result.calls) == 1) for call in result.calls)
    return replace(result, calls=tuple(calls))


def _printed_call(call: CallResult, request: RunRequest, *, is_alone: bool) -> CallResult:
    index = call.inspection.index
    size = _printed_size(request, len(index.heads), index.total_queries, is_alone=is_alone)
    return _with_pairs(_with_pictures_of(call, *size), request.top)


def _with_pairs(call: CallResult, most: int) -> CallResult:
    top = call.inspection.top.strongest(most)
    return replace(call, inspection=replace(call.inspection, top=top))


def _with_pictures_of(call: CallResult, rows: int, columns: int) -> CallResult:
    pictures = coarser(call.inspection.pictures, rows, columns)
    return replace(call, inspection=replace(call.inspection, pictures=pictures))
