"""The cases of a benchmark: a table each, a row a backend, and below it why the others have none."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from rich.text import Text

from attn_cli.benchmark.types import BenchResult, Summary
from attn_cli.reporters.terminal.bench_numbers import case_parts, error_text, percent, rate, short, size
from attn_cli.reporters.terminal.canvas import Canvas, padded
from attn_cli.reporters.terminal.figures import milliseconds
from attn_cli.reporters.terminal.palette import BAD, GOOD
from attn_cli.reporters.terminal.tables import Column, print_table
from attn_cli.reporters.terminal.text import count

_STYLES = {"wrong": BAD, "failed": BAD, "interrupted": "bold"}
_LEGEND = (
    "median of all runs, IQR as a share of it",
    "share: of the measured roofline",
    "memory: beyond the inputs, output included",
    "error: largest difference from float64, ✓ within what the dtype explains",
    "first: the first run, with what is made or compiled once",
)


def print_cases(canvas: Canvas, results: Sequence[BenchResult]) -> None:
    """A table for each case, in the order they were asked for.

    A reason that an earlier table gave for the same backend is not repeated in full.
    """
    told: dict[str, str] = {}
    for _, group in groupby(results, key=lambda result: result.case):
        _print_case(canvas, list(group), told)
    if any(result.ms is not None for result in results):
        canvas.line()
        canvas.paragraph(canvas.join([canvas.text(part, "dim") for part in _LEGEND], " · "), indent=2)
    _print_kernels(canvas, results)


def _print_case(canvas: Canvas, results: list[BenchResult], told: dict[str, str]) -> None:
    canvas.heading(", ".join(case_parts(results[0].case)), _work(results))
    timed = [result for result in results if result.ms is not None]
    if timed:
        print_table(canvas, _columns(canvas, timed))
        _print_part(canvas, timed)
    untold = [result for result in results if result.status != "ok" and told.get(result.backend) != _reason(result)]
    width = _name_width(canvas, [result.backend for result in untold])
    for result in untold:
        _print_reason(canvas, result, width)
    repeated = [result for result in results if result.status != "ok" and result not in untold]
    if repeated:
        statuses = groupby(repeated, key=lambda result: result.status)
        parts = [f"{', '.join(one.backend for one in group)} {status}" for status, group in statuses]
        canvas.paragraph(canvas.text(f"as above: {'; '.join(parts)}", "dim"), indent=2, hanging=2)
    told.update((result.backend, _reason(result)) for result in untold)


def _print_part(canvas: Canvas, timed: list[BenchResult]) -> None:
    """How much was compared, where it is a part: the same ✓ says less then."""
    queries = timed[0].case.queries
    rows = [result.checked_rows for result in timed if result.max_abs_error is not None and result.checked_rows]
    if rows and min(rows) < queries:
        said = f"error: of {count(min(rows), 'query row')} of each head, spread over all {queries}"
        canvas.paragraph(canvas.text(said, "dim"), indent=2, hanging=2)


def _name_width(canvas: Canvas, backends: Sequence[str]) -> int:
    """Cells that the widest name takes, and never so many that nothing fits beside it."""
    return min(canvas.width // 2, max((canvas.text(backend).cell_len for backend in backends), default=0))


def _reason(result: BenchResult) -> str:
    return result.reason or "the reason is not known"


def _work(results: list[BenchResult]) -> str:
    """What every backend has to do at least, by the formulas of the JSON."""
    case = results[0].case
    intensity = next((result.intensity for result in results if result.intensity is not None), None)
    work = rate(case.flops, "FLOP")
    return work if intensity is None else f"{work}, {short(intensity)} FLOP/B"


def _columns(canvas: Canvas, results: list[BenchResult]) -> list[Column]:
    """What is known of each backend that was timed; the quickest of those that are right is marked."""
    right = [result for result in results if result.is_quick]
    quickest = min(right, key=lambda result: _summary(result).median, default=None)

    def style(result: BenchResult) -> str:
        return GOOD if result is quickest else _STYLES.get(result.status, "")

    def column(header: str, cells: list[Text], right: bool = True, repeat: bool = False) -> Column:
        return Column(canvas.text(header, "dim"), tuple(cells), right, repeat)

    def plain(values: list[str]) -> list[Text]:
        return [canvas.text(value) for value in values]

    names = [canvas.text(result.backend, style(result)) for result in results]
    medians = [canvas.text(milliseconds(_summary(result).median), style(result)) for result in results]
    return [
        column("backend", names, right=False, repeat=True),
        column("median", medians),
        column("IQR", plain([percent(_summary(result).noise) for result in results])),
        column("TFLOP/s", plain([short(result.tflops) for result in results])),
        column("GB/s", plain([short(_giga(result.bytes_per_s)) for result in results])),
        column("share", plain([percent(result.share_of_peak) for result in results])),
        column("memory", plain([size(result.peak_memory_bytes) for result in results])),
        column("error", [_error(canvas, result) for result in results]),
        column("first", plain([_first(result) for result in results])),
    ]


def _summary(result: BenchResult) -> Summary:
    assert result.ms is not None  # only results that were timed have a row
    return result.ms


def _giga(value: float | None) -> float | None:
    return None if value is None else value / 1e9


def _first(result: BenchResult) -> str:
    return "–" if result.first_ms is None else milliseconds(result.first_ms)


def _error(canvas: Canvas, result: BenchResult) -> Text:
    """The difference from float64 with a mark, which is missing where nothing was compared."""
    text = canvas.text(error_text(result.max_abs_error))
    if result.status == "wrong":
        return canvas.join([text, canvas.text("✗", BAD)])
    if result.max_abs_error is None or result.tolerance is None:
        return text
    return canvas.join([text, canvas.text("✓", GOOD)])


def _print_reason(canvas: Canvas, result: BenchResult, width: int) -> None:
    """A backend that was not timed, or is wrong, and why."""
    style = _STYLES.get(result.status, "dim")
    name = padded(canvas.text(result.backend, style, limit=width), width)
    said = canvas.join([canvas.text(f"{result.status}:", style), canvas.text(_reason(result), "dim")])
    canvas.paragraph(canvas.join([name, said], "  "), indent=2, hanging=width + 2)


def _print_kernels(canvas: Canvas, results: Sequence[BenchResult]) -> None:
    """What really ran for each backend's name, where that is more than the name."""
    kernels: dict[str, dict[str, None]] = {}
    for result in results:
        if result.kernel is not None and result.kernel != result.backend:
            kernels.setdefault(result.backend, {})[result.kernel] = None
    if not kernels:
        return
    canvas.heading("Kernels", "what really ran")
    width = _name_width(canvas, list(kernels))
    for backend, names in kernels.items():
        name = padded(canvas.text(backend, limit=width), width)
        said = canvas.text(", ".join(names), "dim")
        canvas.paragraph(canvas.join([name, said], "  "), indent=2, hanging=width + 2)
