"""What ``attn run`` and ``attn demo`` share behind their options; torch is imported here."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from attn_cli.attention.types import ModuleInputs
from attn_cli.benchmark.timing import ENOUGH_SECONDS
from attn_cli.inputs.options import ReadOptions
from attn_cli.inputs.source import open_calls
from attn_cli.inputs.types import LoadedCall
from attn_cli.inspection.options import InspectOptions, Zoom
from attn_cli.inspection.ranking import Order
from attn_cli.pipeline import RunOptions, run_call
from attn_cli.reporters.json_report import run_document, write_document
from attn_cli.reporters.progress import progress_bar
from attn_cli.reporters.saved import check_save, save_outputs
from attn_cli.reporters.terminal import picture_limits, render_run
from attn_cli.reporters.terminal.console import make_console
from attn_cli.results import CallResult, RunResult

Progress = Callable[[int, int], None]
PICTURE = 64
THUMBNAIL = 16  # cells of a side where no picture is shown, so that thousands of calls can be held
TIMING_SECONDS = 2.0  # for all calls together


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


def run_file(read: ReadOptions, request: RunRequest) -> int:
    """Run and report every call of a file that ``read`` selects."""
    check_save(request.save, onto=(read.file, read.weights_file, read.q, read.k, read.v))
    start = time.perf_counter()
    with open_calls(read) as source:
        results = []
        with progress_bar() as progress:
            for number, plan in enumerate(source.plans):
                call = plan.load()
                load_ms = (time.perf_counter() - start) * 1e3
                part = part_of(progress, number, len(source.plans))
                results.append(run_one(call, request, load_ms, part, calls=len(source.plans)))
                start = time.perf_counter()
        return report(RunResult(request.command, tuple(results), request.metric, request.order), request)


def part_of(progress: Progress, number: int, count: int) -> Progress:
    """Progress of one call out of several, told as progress of all."""
    return lambda done, total: progress(number * total + done, count * total)


def run_one(call: LoadedCall, request: RunRequest, load_ms: float, progress: Progress, *, calls: int = 1) -> CallResult:
    """Run one call out of so many; its pictures are sized for the terminal where they will be shown."""
    rows, columns = _picture_size(call, request, is_alone=calls == 1)
    shows_weights = request.weights and (request.json_output or request.save is not None)
    inspect = InspectOptions(request.top, shows_weights, request.similarity, rows, columns, zoom=request.zoom)
    options = RunOptions(
        request.device, request.dtype, request.backend, request.repeat, inspect,
        keep_outputs=request.save is not None, timing_seconds=min(ENOUGH_SECONDS, TIMING_SECONDS / calls),
    )  # fmt: skip
    return run_call(call, options, load_ms, progress)


def _picture_size(call: LoadedCall, request: RunRequest, *, is_alone: bool) -> tuple[int, int]:
    """Rows and columns of cells at most. Only a zoom's are in the JSON."""
    if request.json_output:
        return (PICTURE, PICTURE) if is_alone or request.zoom is not None else (THUMBNAIL, THUMBNAIL)
    if not is_alone:
        return THUMBNAIL, THUMBNAIL
    last = None if request.zoom is None else _last_query(call, request.zoom)
    return picture_limits(make_console().width, _shown_heads(call), last)


def _shown_heads(call: LoadedCall) -> int:
    if call.selection.heads is not None:
        return len(call.selection.heads)
    return call.inputs.num_heads if isinstance(call.inputs, ModuleInputs) else call.inputs.q.shape[1]


def _last_query(call: LoadedCall, zoom: Zoom) -> int:
    total = len(call.inputs.rules.mask.places)
    return (total if zoom.query_stop is None else zoom.query_stop) - 1


def report(result: RunResult, request: RunRequest) -> int:
    """Save what is to be saved, then print the report. Returns the exit code."""
    if request.save is not None:
        save_outputs(result, request.save)
    if request.json_output:
        write_document(run_document(result), sys.stdout)
    else:
        render_run(result, make_console())
    return 0
