"""A benchmark as CSV, a line a result, and as Markdown for a page or an issue."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from typing import Any

from attn_cli.benchmark.types import BenchReport, BenchResult, Compared, Comparison, Lost
from attn_cli.reporters.terminal.bench import environment_value, existing_settings
from attn_cli.reporters.terminal.bench_numbers import (
    case_parts,
    error_text,
    exponent,
    percent,
    rate,
    ratio,
    short,
    size,
)
from attn_cli.reporters.terminal.figures import milliseconds
from attn_cli.reporters.terminal.text import harmless

CSV_COLUMNS = (
    "backend",
    "status",
    "reason",
    "batch",
    "heads",
    "kv_heads",
    "queries",
    "keys",
    "head_dim",
    "dtype",
    "causal",
    "mode",
    "kernel",
    "first_ms",
    "median_ms",
    "iqr_ms",
    "min_ms",
    "samples",
    "yardstick_ms",
    "tflops",
    "bytes_per_s",
    "intensity",
    "share_of_peak",
    "peak_memory_bytes",
    "max_abs_error",
    "tolerance",
    "share_of_tolerance",
    "checked_rows",
    "verdict",
    "ratio",
    "yardstick_ratio",
)
_RESULTS = ("backend", "status", "median", "IQR", "TFLOP/s", "GB/s", "share", "memory", "error", "case")
_LEFT = ("backend", "status", "case", "verdict")
_FORMULAE = ("=", "+", "-", "@", "\t", "\r")


def bench_csv(report: BenchReport) -> str:
    """A header and a line for each result; an empty field is unknown. ``samples`` is how many runs were timed."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for result in report.results:
        known = _csv_fields(result, _compared_with(report.comparison, result))
        writer.writerow([_csv_field(known.get(name)) for name in CSV_COLUMNS])
    return text.getvalue()


def _csv_fields(result: BenchResult, compared: Compared | None) -> dict[str, Any]:
    fields = {**vars(result), **vars(result.case)}
    if result.ms is not None:
        ms = result.ms
        fields |= {"median_ms": ms.median, "iqr_ms": ms.iqr, "min_ms": ms.min, "samples": len(ms.samples)}
    if compared is None:
        return fields
    return fields | {"verdict": compared.verdict, "ratio": compared.ratio, "yardstick_ratio": compared.machine}


def _csv_field(value: Any) -> str:
    """Text as text: no control characters, and nothing that a spreadsheet would calculate."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        shown = harmless(value)
        return f"'{shown}" if shown.startswith(_FORMULAE) else shown
    return repr(value)


def _compared_with(comparison: Comparison | None, result: BenchResult) -> Compared | None:
    entries = () if comparison is None else comparison.entries
    return next((one for one in entries if (one.backend, one.case) == (result.backend, result.case)), None)


def bench_markdown(report: BenchReport) -> str:
    """The machine, the results, growth, the comparison and the warnings as a page of Markdown."""
    parts = [_heading("Machine"), _machine(report), _heading("Results"), _results(report.results)]
    reasons = _reasons(report.results)
    parts += [reasons] if reasons else []
    if report.growth:
        rows = [(one.backend, exponent(one.time_exponent), exponent(one.memory_exponent)) for one in report.growth]
        cases = [", ".join(case_parts(one.case)) for one in report.growth]
        told = [(*row, case) for row, case in zip(rows, cases, strict=True)]
        parts += [_heading("Growth"), _table(("backend", "time", "memory", "longest case"), told)]
    if report.comparison is not None:
        parts += [_heading("Baseline"), _baseline(report.comparison)]
    if report.warnings:
        lines = (f"- {_safe(one.message)} Hint: {_safe(one.remedy)}" for one in report.warnings)
        parts += [_heading("Warnings"), "\n".join(lines)]
    if report.was_interrupted:
        parts.append("Interrupted: this is what was measured until then.")
    return "\n\n".join(parts) + "\n"


def _heading(title: str) -> str:
    return f"## {title}"


def _machine(report: BenchReport) -> str:
    there = existing_settings(report.environment)
    known = [(name.replace("_", " "), environment_value(name, value)) for name, value in there.items()]
    known += [(f"peak {dtype}", rate(value, "FLOP/s")) for dtype, value in report.peaks.flops_per_s.items()]
    known.append(("peak copy", rate(report.peaks.bytes_per_s, "B/s")))
    return _table(("what", "value"), known)


def _results(results: Sequence[BenchResult]) -> str:
    return _table(_RESULTS, [_row(result) for result in results])


def _row(result: BenchResult) -> tuple[str, ...]:
    case, ms = ", ".join(case_parts(result.case)), result.ms
    times = ("–", "–") if ms is None else (milliseconds(ms.median), percent(ms.noise))
    rates = (short(result.tflops), short(None if result.bytes_per_s is None else result.bytes_per_s / 1e9))
    memory, error = size(result.peak_memory_bytes), error_text(result.max_abs_error)
    return (result.backend, result.status, *times, *rates, percent(result.share_of_peak), memory, error, case)


def _reasons(results: Iterable[BenchResult]) -> str:
    """Each reason once for a backend."""
    told = {(one.backend, one.status, one.reason): None for one in results if one.status != "ok"}
    return "\n".join(f"- {backend} {status}: {_safe(reason or 'unknown')}" for backend, status, reason in told)


def _baseline(comparison: Comparison) -> str:
    rows = [
        (
            one.backend,
            one.verdict,
            ratio(one.ratio),
            f"{ratio(one.low)}–{ratio(one.high)}",
            percent(one.margin),
            "–" if one.machine is None else ratio(one.machine),
            ", ".join(case_parts(one.case)),
        )
        for one in comparison.entries
    ]
    table = _table(("backend", "verdict", "ratio", "99% interval", "margin", "machine", "case"), rows)
    notes = [f"- {one.backend} was ok, {one.status} now: {_safe(_lost_case(one))}" for one in comparison.lost]
    notes += [f"- {_safe(note)}" for note in comparison.notes]
    if comparison.missing:
        notes.append(f"- {comparison.missing} results are in only one of the two")
    return "\n\n".join(part for part in (f"Beside {_safe(comparison.file)}.", table, "\n".join(notes)) if part)


def _lost_case(lost: Lost) -> str:
    return f"{', '.join(case_parts(lost.case))}: {lost.reason or 'the reason is not known'}"


def _table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    rules = (":--" if header in _LEFT or header in ("what", "value") else "--:" for header in headers)
    lines = [headers, list(rules), *([_safe(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _safe(text: str) -> str:
    """Text as text: no control characters, no HTML, no cell's end."""
    shown = harmless(text).replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|").replace("`", "\\`")
    return shown.replace("*", "\\*").replace("_", "\\_").replace("[", "\\[")
