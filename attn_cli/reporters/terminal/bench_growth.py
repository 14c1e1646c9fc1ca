"""How time and memory grow with the length: the exponents, and a drawing on logarithmic axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby, zip_longest

from rich.text import Text

from attn_cli.benchmark.types import Growth
from attn_cli.reporters.terminal.bench_numbers import case_parts, exponent, size
from attn_cli.reporters.terminal.canvas import Canvas, padded
from attn_cli.reporters.terminal.figures import milliseconds
from attn_cli.reporters.terminal.plot import Line, Plot, draw

_MARKS = "●■▲◆○□△◇+x"
_ASCII_MARKS = "abcdefghij"
# Okabe and Ito's colours, which colour-blind readers can tell apart, in shades for light and dark backgrounds.
_STYLES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b8860b", "#3c8fc7", "#875acd", "#757575", "#c83ca0", "#328732")
_GAP = 4
_SIDE_BY_SIDE = 100
_WIDEST = 72
_ROWS = 13


def print_growth(canvas: Canvas, growth: Sequence[Growth]) -> None:
    """A drawing and the exponents for each series of cases that differ in their length alone."""
    for _, group in groupby(sorted(growth, key=settings_of), key=settings_of):
        series = list(group)
        canvas.heading("Growth", ", ".join(settings_of(series[0])))
        _print_drawings(canvas, series)
        _print_exponents(canvas, series)
    if growth:
        said = "both axes are logarithmic: a straight line is a power of the length; where two meet, the first is seen"
        canvas.paragraph(canvas.text(said, "dim"), indent=2)


def settings_of(growth: Growth) -> tuple[str, ...]:
    """Everything of the case but its length; of queries, whether they are as many as the keys."""
    case = growth.case
    parts = case_parts(replace(case, queries=1, keys=1))
    queries = "queries = keys" if growth.queries_grow else f"queries {case.queries}"
    return (*parts[:2], queries, *parts[3:])


def _mark(canvas: Canvas, number: int) -> tuple[str, str]:
    marks = _MARKS if canvas.unicode else _ASCII_MARKS
    return marks[number % len(marks)], _STYLES[number % len(_STYLES)]


def _print_drawings(canvas: Canvas, series: list[Growth]) -> None:
    """Time and memory beside each other where there is room, below each other elsewhere."""
    time, memory = _lines(canvas, series, of_memory=False), _lines(canvas, series, of_memory=True)
    is_wide = canvas.width >= _SIDE_BY_SIDE and bool(time) and bool(memory)
    width = min(_WIDEST, (canvas.width - 2 - _GAP) // 2 if is_wide else canvas.width - 2)
    drawings = []
    if time:
        drawings.append(draw(canvas, Plot("time", time, lambda value: milliseconds(value), width, _ROWS)))
    if memory:
        drawings.append(draw(canvas, Plot("memory", memory, lambda value: size(round(value)), width, _ROWS)))
    for lines in _arranged(canvas, drawings, width, is_wide):
        canvas.line("  ", lines)


def _arranged(canvas: Canvas, drawings: list[list[Text]], width: int, is_wide: bool) -> list[Text]:
    if not is_wide:
        return [line for drawing in drawings for line in drawing]
    empty = canvas.text("")
    rows = zip_longest(*drawings, fillvalue=empty)
    return [canvas.text(" " * _GAP).join([padded(line, width) for line in row]) for row in rows]


def _lines(canvas: Canvas, series: list[Growth], of_memory: bool) -> list[Line]:
    """What is known of each backend; a series of one point is no growth."""
    lines = []
    for number, growth in enumerate(series):
        values = growth.memory_bytes if of_memory else growth.median_ms
        pairs = zip(growth.lengths, values, strict=True)
        points = tuple((float(length), float(value)) for length, value in pairs if value)
        if len(points) > 1:
            lines.append(Line(points, *_mark(canvas, number)))
    return lines


def _print_exponents(canvas: Canvas, series: list[Growth]) -> None:
    width = min(canvas.width // 2, max(canvas.text(growth.backend).cell_len for growth in series))
    for number, growth in enumerate(series):
        mark, style = _mark(canvas, number)
        parts = [
            canvas.text(mark, style),
            padded(canvas.text(growth.backend, limit=width), width),
            canvas.join([canvas.text("time", "dim"), canvas.text(exponent(growth.time_exponent))]),
            canvas.join([canvas.text("memory", "dim"), canvas.text(exponent(growth.memory_exponent))]),
        ]
        canvas.paragraph(canvas.join(parts, "  "), indent=2, hanging=2)
