"""What ``attn bench`` does behind its options; torch is imported here."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from functools import partial

import torch

from attn_cli.attention.devices import resolve_device
from attn_cli.benchmark.baseline import Baseline, check_environment, compare, load, nothing_in_common
from attn_cli.benchmark.clock import Clock, clock_for
from attn_cli.benchmark.contenders import CONTENDERS
from attn_cli.benchmark.environment import describe
from attn_cli.benchmark.memory import inputs_bytes
from attn_cli.benchmark.plan import unshared
from attn_cli.benchmark.room import check_room
from attn_cli.benchmark.runner import BenchPlan, bench_cases, run_bench
from attn_cli.benchmark.statistics import MARGIN
from attn_cli.benchmark.types import BenchReport, Mode, Warned
from attn_cli.commands.options import Form
from attn_cli.commands.paging import warn
from attn_cli.commands.showing import Showing
from attn_cli.errors import ResourceError, UsageError
from attn_cli.reporters.atomic import atomic_write
from attn_cli.reporters.bench_text import bench_csv, bench_markdown
from attn_cli.reporters.figures import FigureRequest, write_bench_figures
from attn_cli.reporters.html import PageRequest
from attn_cli.reporters.html.bench import write_bench_page
from attn_cli.reporters.json_report import Document, bench_document, write_document
from attn_cli.reporters.progress import progress_bar
from attn_cli.reporters.terminal import render_bench

REGRESSION = 1
INTERRUPTED = 130
NEW_BASELINE = "write a new baseline with --save"
Sizes = tuple[int, ...] | None


@dataclass(frozen=True)
class Defaults:
    """The cases of a kind of device where nothing else was asked for."""

    batch: int
    heads: int
    head_dim: int
    seq: tuple[int, ...]
    dtype: str
    causal: bool


ON_CPU = Defaults(1, 8, 64, (512, 1024, 2048), "float32", causal=False)
ON_GPU = Defaults(4, 16, 128, (1024, 2048, 4096, 8192), "bfloat16", causal=True)


@dataclass(frozen=True)
class BenchRequest:
    """What to time and what to give out, as asked for on the command line; None is the device's default."""

    seq: Sizes
    queries: Sizes
    batch: Sizes
    heads: Sizes
    kv_heads: Sizes
    head_dim: Sizes
    dtypes: tuple[str, ...] | None
    causal: bool | None
    mode: Mode
    device: str
    backends: tuple[str, ...] | None
    min_time: float | None
    baseline: str | None
    margin: float | None
    form: Form
    save: str | None
    figures: FigureRequest | None = None
    page: PageRequest | None = None
    screenshot: str | None = None


def run_request(request: BenchRequest) -> int:
    """Time what was asked for, save and print the report. Returns the exit code."""
    device = resolve_device(request.device)
    plan = _plan(request, device)
    least = min(inputs_bytes(case, device) for case in plan.cases)
    check_room("attn bench", "the smallest of these cases", least, "ask for smaller sizes", device)
    clock = clock_for(device)
    baseline = None if request.baseline is None else _usable_baseline(request.baseline, plan, clock)
    with progress_bar("preparing") as progress:
        report = run_bench(plan, progress, clock)
    if baseline is not None:
        report = _compared(report, baseline, MARGIN if request.margin is None else request.margin)
    return _give_out(report, request)


def _plan(request: BenchRequest, device: torch.device) -> BenchPlan:
    """Every combination of what was asked for, the device's defaults elsewhere."""
    usual = ON_CPU if device.type == "cpu" else ON_GPU
    cases = bench_cases(
        batch=request.batch or (usual.batch,),
        heads=request.heads or (usual.heads,),
        kv_heads=request.kv_heads,
        head_dim=request.head_dim or (usual.head_dim,),
        keys=request.seq or usual.seq,
        queries=request.queries,
        dtypes=request.dtypes or (usual.dtype,),
        causal=usual.causal if request.causal is None else request.causal,
        mode=request.mode,
    )
    warnings = unshared(request.heads or (usual.heads,), request.kv_heads)
    plan = BenchPlan(cases, request.backends or tuple(CONTENDERS), device, warnings=warnings)
    return plan if request.min_time is None else replace(plan, min_time=request.min_time)


def _usable_baseline(path: str, plan: BenchPlan, clock: Clock) -> Baseline:
    """The baseline, refused before anything is measured where nothing of the plan could be compared with it."""
    baseline = load(path)
    check_environment(describe(plan.device, clock.flushed_bytes), baseline)
    planned = {(backend, case) for backend in plan.backends for case in plan.cases}
    if not planned & baseline.samples.keys():
        raise nothing_in_common(baseline)
    return baseline


def _compared(report: BenchReport, baseline: Baseline, margin: float) -> BenchReport:
    """The report beside its baseline; where that cannot be done any more, what was measured is still told."""
    try:
        return replace(report, comparison=compare(report, baseline, margin))
    except UsageError as error:
        warned = Warned(error.message, error.hint or NEW_BASELINE)
    except Exception as error:  # whatever is in the file, what was measured is not lost for it
        said = f"--baseline {baseline.file}: the comparison failed: {type(error).__name__}"
        warned = Warned(f"{said}: {error}" if str(error) else said, NEW_BASELINE)
    return replace(report, warnings=(*report.warnings, warned))


def _give_out(report: BenchReport, request: BenchRequest) -> int:
    """Save what is to be saved, then print the report. Returns the exit code.

    Where it cannot be saved or drawn it is printed all the same: it may have taken an hour to measure.
    """
    code = _exit_code(report, request)
    document = bench_document(report, code)
    failure: ResourceError | None = None
    try:
        if request.save is not None:
            _save(document, request.save)
        if request.figures is not None:
            write_bench_figures(report, request.figures)
        if request.page is not None:
            warn(request.page, write_bench_page(report, request.page.path, request.page.budget))
    except ResourceError as error:
        failure = error
    if request.form == "json" and failure is None:
        write_document(document, sys.stdout)
    elif request.form == "table":
        not_drawn = _show(report, request.screenshot)
        failure = failure or not_drawn
    elif request.form != "json":
        sys.stdout.write(bench_csv(report) if request.form == "csv" else bench_markdown(report))
    if failure is not None:
        raise failure
    return code


def _show(report: BenchReport, screenshot: str | None) -> ResourceError | None:
    """Draw the report's picture and print it; what kept the picture from being written, or None."""
    showing, shown, failure = Showing(screenshot), partial(render_bench, report), None
    try:
        showing.draw(shown)
    except ResourceError as error:
        failure = error
    finally:
        showing.show(shown)  # whatever became of the picture
    return failure


def _exit_code(report: BenchReport, request: BenchRequest) -> int:
    if report.was_interrupted:
        return INTERRUPTED
    is_worse = report.comparison is not None and report.comparison.is_regression
    return REGRESSION if is_worse and request.margin is not None else 0


def _save(document: Document, path: str) -> None:
    with atomic_write(path) as temporary, open(temporary, "w", encoding="ascii") as stream:
        write_document(document, stream)
