"""Benchmark reports made by hand, with every kind of result."""

from __future__ import annotations

from dataclasses import replace

from attn_cli.benchmark.types import (
    BenchCase,
    BenchReport,
    BenchResult,
    Compared,
    Comparison,
    Growth,
    Lost,
    Peaks,
    Summary,
    Warned,
)
from attn_cli.benchmark.usable import Ability, Usable, UsableDevice

CASE = BenchCase(1, 8, 8, 512, 512, 64, "float32", False, "forward")
GPU_CASE = BenchCase(4, 32, 8, 16384, 16384, 128, "bfloat16", True, "backward")
ENVIRONMENT = {
    "device": "cpu",
    "device_name": "Some Processor",
    "driver": None,
    "cuda": None,
    "torch": "2.13.0",
    "threads": 2,
    "allow_tf32": False,
    "float32_matmul_precision": "highest",
    "l2_flush_bytes": 0,
    "cpu_mhz": 2100.0,
}
PEAKS = Peaks({"float32": 95.2e9}, 12.3e9)


def summary(median: float) -> Summary:
    """Four runs around a median."""
    return Summary((median * 1.1, median * 0.99, median * 1.01, median * 0.98), median, median * 0.03, median * 0.98)


def result(backend: str, ms: float, case: BenchCase = CASE, memory: int | None = 1 << 20) -> BenchResult:
    """A result that is right, with the rates of its median."""
    flops, moved = case.flops, case.bytes_moved(4)
    seconds = ms / 1e3
    return BenchResult(
        backend, case, "ok", kernel=f"{backend}_kernel", first_ms=ms * 3, ms=summary(ms), peak_memory_bytes=memory,
        max_abs_error=2.4e-7, tolerance=1e-5, checked_rows=case.queries, tflops=flops / seconds / 1e12,
        bytes_per_s=moved / seconds, intensity=flops / moved, share_of_peak=0.123, yardstick_ms=0.625,
        share_of_tolerance=0.024,
    )  # fmt: skip


def refused(backend: str, case: BenchCase = CASE) -> BenchResult:
    return BenchResult(backend, case, "refused", f"PyTorch has the {backend} kernel on CUDA alone")


def wrong(backend: str, ms: float, case: BenchCase = CASE) -> BenchResult:
    reason = "its largest error, 0.25, is beyond the tolerance 1.0e-05"
    return replace(result(backend, ms, case), status="wrong", reason=reason, max_abs_error=0.25)


def skipped(backend: str, case: BenchCase = CASE) -> BenchResult:
    return BenchResult(backend, case, "skipped", "it would need about 64 GiB, and 12 GiB are available")


def failed(backend: str, case: BenchCase = CASE) -> BenchResult:
    return BenchResult(backend, case, "failed", "RuntimeError: \x1b[31m[red]CUDA error|=x[/red]", first_ms=3.0)


def _all_of(length: int) -> tuple[BenchResult, ...]:
    case, part = replace(CASE, queries=length, keys=length), length / 512
    math = skipped("math", case) if length == 2048 else result("math", 9 * part**2, case, round(33e6 * part**2))
    return (
        result("textbook", 12.5 * part**2.1, case, 40 << 20),
        result("sdpa", 2.31 * part**1.9, case, round((1 << 20) * part)),
        result("flash", 2.28 * part**1.9, case, round((1 << 20) * part)),
        refused("efficient", case),
        refused("cudnn", case),
        math,
        wrong("flex", 0.0456, case),
        failed("xformers", case),
    )


def _growth(results: tuple[BenchResult, ...], backend: str, exponents: tuple[float, float | None]) -> Growth:
    mine = [one for one in results if one.backend == backend and one.ms is not None]
    medians = tuple(None if one.ms is None else one.ms.median for one in mine)
    memory = tuple(one.peak_memory_bytes for one in mine)
    return Growth(backend, mine[-1].case, tuple(one.case.keys for one in mine), medians, memory, *exponents, True)


RESULTS = tuple(one for length in (512, 1024, 2048) for one in _all_of(length))
GROWTH = tuple(
    _growth(RESULTS, backend, exponents)
    for backend, exponents in (
        ("textbook", (2.1, 0.0)),
        ("sdpa", (1.9, 1.0)),
        ("flash", (1.9, 1.0)),
        ("math", (2.0, 2.0)),
    )
)
WARNINGS = (
    Warned("sdpa, 512 × 512: the runs differ by 14 % (IQR over median)", "close other programs, or use --min-time 2"),
    Warned("textbook: the first run took 30 times the median", "nothing is wrong if it compiles"),
)
COMPARISON = Comparison(
    "old.json",
    (
        Compared("textbook", CASE, "SAME", 1.01, 0.99, 1.03, 0.05),
        Compared("sdpa", CASE, "SLOWER", 1.21, 1.18, 1.25, 0.05, 0.9375),
        Compared("flash", CASE, "FASTER", 0.81, 0.78, 0.85, 0.05, 1.0),
        Compared("math", replace(CASE, queries=1024, keys=1024), "UNCLEAR", 1.06, 0.97, 1.15, 0.0812),
    ),
    3,
    ("torch was 2.12.0 and is 2.13.0 now",),
    (Lost("flex", CASE, "wrong", "it differs from float64 by 0.25 in a row of which its dtype explains 1e-05"),),
)
FULL = BenchReport(ENVIRONMENT, PEAKS, RESULTS, GROWTH, WARNINGS, COMPARISON)
GPU = BenchReport(
    {"device": "cuda", "device_name": "NVIDIA H200", "l2_flush_bytes": 120 << 20, "threads": 16},
    Peaks({"bfloat16": 752.3e12, "float32": 412e12}, 4.1e12),
    (
        result("sdpa", 12345.6, GPU_CASE, 12 << 30),
        result("flash-attn", 12001.2, GPU_CASE, None),
        replace(result("math", 0.0123, GPU_CASE), share_of_peak=None, max_abs_error=None, tolerance=None),
    ),
    (),
    (),
)
INTERRUPTED = replace(FULL, results=RESULTS[:2], growth=(), warnings=(), comparison=None, was_interrupted=True)
EMPTY = BenchReport({"device": "cpu", "threads": 1}, Peaks({}, None), (), (), (), None, True)
REPORTS = {"bench": FULL, "bench-gpu": GPU, "bench-interrupted": INTERRUPTED, "bench-empty": EMPTY}
USABLE = Usable(
    "2.13.0",
    (
        UsableDevice(
            "cpu",
            True,
            None,
            "Some Processor",
            24 << 30,
            (Ability("float64", True), Ability("float32", True), Ability("float16", False, "it is not implemented")),
            (Ability("sdpa", True), Ability("cudnn", False, "PyTorch has the cudnn kernel on CUDA alone")),
        ),
        UsableDevice("cuda", False, "this build of PyTorch has no CUDA"),
    ),
)
