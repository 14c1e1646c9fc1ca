"""What ``attn bench`` and ``attn devices`` tell in JSON, built from their records."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from attn_cli.benchmark.types import (
    BYTES_FORMULA,
    FLOPS_FORMULA,
    BenchReport,
    BenchResult,
    Compared,
    Comparison,
    Growth,
    Lost,
    Summary,
)
from attn_cli.benchmark.usable import Usable

Entry = dict[str, Any]


def bench_data(report: BenchReport) -> Entry:
    """The ``data`` of the document; numbers that are not finite are still in it."""
    return {
        "environment": dict(report.environment),
        "peaks": {"flops_per_s": dict(report.peaks.flops_per_s), "bytes_per_s": report.peaks.bytes_per_s},
        "results": [_result(result) for result in report.results],
        "growth": [_growth(growth) for growth in report.growth],
        "warnings": [{"message": warned.message, "remedy": warned.remedy} for warned in report.warnings],
        "comparison": None if report.comparison is None else _comparison(report.comparison),
        "interrupted": report.was_interrupted,
    }


def _result(result: BenchResult) -> Entry:
    return {
        "backend": result.backend,
        "status": result.status,
        "reason": result.reason,
        **asdict(result.case),
        "kernel": result.kernel,
        "first_ms": result.first_ms,
        "ms": None if result.ms is None else _summary(result.ms),
        "yardstick_ms": result.yardstick_ms,
        "tflops": result.tflops,
        "bytes_per_s": result.bytes_per_s,
        "intensity": result.intensity,
        "share_of_peak": result.share_of_peak,
        "peak_memory_bytes": result.peak_memory_bytes,
        "max_abs_error": result.max_abs_error,
        "tolerance": result.tolerance,
        "share_of_tolerance": result.share_of_tolerance,
        "checked_rows": result.checked_rows,
        "flops_formula": FLOPS_FORMULA[result.case.mode],
        "bytes_formula": BYTES_FORMULA[result.case.mode],
    }


def _summary(ms: Summary) -> Entry:
    return {"median": ms.median, "iqr": ms.iqr, "min": ms.min, "samples": list(ms.samples)}


def _growth(growth: Growth) -> Entry:
    return {
        "backend": growth.backend,
        **asdict(growth.case),
        "lengths": list(growth.lengths),
        "median_ms": list(growth.median_ms),
        "memory_bytes": list(growth.memory_bytes),
        "time_exponent": growth.time_exponent,
        "memory_exponent": growth.memory_exponent,
        "queries_grow": growth.queries_grow,
    }


def _comparison(comparison: Comparison) -> Entry:
    return {
        "file": comparison.file,
        "entries": [_compared(entry) for entry in comparison.entries],
        "lost": [_lost(lost) for lost in comparison.lost],
        "missing": comparison.missing,
        "notes": list(comparison.notes),
    }


def _compared(entry: Compared) -> Entry:
    numbers: Entry = {"ratio": entry.ratio, "low": entry.low, "high": entry.high, "margin": entry.margin}
    numbers["yardstick_ratio"] = entry.machine
    return {"backend": entry.backend, **asdict(entry.case), "verdict": entry.verdict, **numbers}


def _lost(lost: Lost) -> Entry:
    return {"backend": lost.backend, **asdict(lost.case), "status": lost.status, "reason": lost.reason}


def devices_data(usable: Usable) -> Entry:
    """The ``data`` of ``attn devices --json``."""
    return asdict(usable)
