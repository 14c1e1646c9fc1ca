"""A whole benchmark, from its plan to its report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from attn_cli.benchmark.allocator import keeping_freed_memory
from attn_cli.benchmark.case_run import CaseRun
from attn_cli.benchmark.clock import Clock, clock_for
from attn_cli.benchmark.contenders import CONTENDERS
from attn_cli.benchmark.contenders.base import Contender
from attn_cli.benchmark.doubts import doubts_of
from attn_cli.benchmark.environment import Setting, describe
from attn_cli.benchmark.growth import growth_of
from attn_cli.benchmark.inputs import itemsize
from attn_cli.benchmark.memory import release
from attn_cli.benchmark.peaks import measure
from attn_cli.benchmark.plan import BenchPlan, bench_cases
from attn_cli.benchmark.types import BenchReport, BenchResult, Peaks, Warned
from attn_cli.benchmark.yardstick import Yardstick
from attn_cli.errors import UsageError

__all__ = ["BenchPlan", "Progress", "bench_cases", "run_bench"]

Progress = Callable[[float, float, str], None]
UNKNOWN_PEAKS = Peaks({}, None)


def run_bench(
    plan: BenchPlan,
    progress: Progress | None = None,
    clock: Clock | None = None,
    contenders: Mapping[str, Contender] = CONTENDERS,
    peaks: Peaks | None = None,
) -> BenchReport:
    """Check and time every backend of the plan on every case.

    Whatever one backend raises, memory that runs out among it, is that result's reason, and the rest goes on. Ctrl-C
    ends it: what was measured until then is reported, and of the case at hand what was not.

    Args:
        plan: what is asked for.
        progress: told how many cases are done, parts of one counted, of how many, and what goes on.
        clock: takes the time; None is the one that fits the device.
        contenders: by name.
        peaks: what the device reaches; None measures it first.

    Raises:
        UsageError: where a backend has no contender, or the device lacks a dtype.
    """
    _check(plan, contenders)
    clock = clock_for(plan.device) if clock is None else clock
    tell = _nothing if progress is None else progress
    with keeping_freed_memory(plan.device):
        return _run(plan, tell, clock, contenders, peaks)


def _run(
    plan: BenchPlan, tell: Progress, clock: Clock, contenders: Mapping[str, Contender], peaks: Peaks | None
) -> BenchReport:
    results: list[BenchResult] = []
    warnings: list[Warned] = []
    was_interrupted = False
    environment: dict[str, Setting] = {}
    try:
        if peaks is None:
            tell(0, len(plan.cases), "measuring the device's peaks")
            peaks = measure(plan.device, [case.dtype for case in plan.cases], clock)
            release(plan.device)
        environment = describe(plan.device, clock.flushed_bytes)  # now that the device is awake
        yardstick = Yardstick(clock) if plan.device.type == "cpu" else None
        for number in range(len(plan.cases)):
            run = _case_run(plan, number, clock, contenders, results, tell, yardstick)
            results += run.run()
            warnings += run.warnings
            if run.was_interrupted:
                was_interrupted = True
                break
    except KeyboardInterrupt:
        was_interrupted = True
    peaks = peaks or UNKNOWN_PEAKS
    rated = tuple(rate(result, peaks) for result in results)
    return BenchReport(
        environment=environment or describe(plan.device, clock.flushed_bytes),
        peaks=peaks,
        results=rated,
        growth=growth_of(rated),
        warnings=(*plan.warnings, *warnings, *doubts_of(rated)),
        was_interrupted=was_interrupted,
    )


def rate(result: BenchResult, peaks: Peaks) -> BenchResult:
    """The result with its FLOP/s, its bytes per second and its share of the roofline."""
    if result.ms is None or result.ms.median <= 0:
        return result
    seconds = result.ms.median / 1e3
    moved = result.case.bytes_moved(itemsize(result.case))
    intensity = result.case.flops / moved
    roofline = peaks.roofline(result.case.dtype, intensity)
    return replace(
        result,
        tflops=result.case.flops / seconds / 1e12,
        bytes_per_s=moved / seconds,
        intensity=intensity,
        share_of_peak=result.case.flops / seconds / roofline if roofline else None,
    )


def _case_run(
    plan: BenchPlan,
    number: int,
    clock: Clock,
    contenders: Mapping[str, Contender],
    earlier: Sequence[BenchResult],
    tell: Progress,
    yardstick: Yardstick | None,
) -> CaseRun:
    case, total = plan.cases[number], len(plan.cases)

    def tell_case(share: float, what: str) -> None:
        tell(number + share, total, f"{case.queries} × {case.keys} {case.dtype}, {what}")

    chosen = {name: contenders[name] for name in plan.backends}
    return CaseRun(case, chosen, plan.device, clock, plan.bounds, earlier, tell_case, yardstick)


def _check(plan: BenchPlan, contenders: Mapping[str, Contender]) -> None:
    unknown = [name for name in plan.backends if name not in contenders]
    if unknown:
        raise UsageError(f"--backend {unknown[0]}: no such backend; expected all or some of {', '.join(contenders)}")
    if plan.device.type == "mps" and any(case.dtype == "float64" for case in plan.cases):
        raise UsageError("--device mps: Apple's GPUs have no float64; expected a smaller dtype", "add --dtype float32")


def _nothing(done: float, total: float, what: str) -> None:
    """Nobody wants to know."""
