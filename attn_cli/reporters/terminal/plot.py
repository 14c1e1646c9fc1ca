"""Lines on two logarithmic axes, drawn in the terminal's characters."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.text import Text

from attn_cli.reporters.terminal.canvas import Canvas, padded
from attn_cli.reporters.terminal.text import compact

_LEAST_COLUMNS = 8


@dataclass(frozen=True)
class Line:
    """One series of points.

    Attributes:
        points: (x, y), both above 0, by ascending x.
        mark: one cell that stands for a point.
        style: colour of its marks and of the dots between them.
    """

    points: tuple[tuple[float, float], ...]
    mark: str
    style: str


@dataclass(frozen=True)
class Plot:
    """What to draw.

    Attributes:
        title: of the upright axis.
        lines: at least one; where two share a cell, the first is seen.
        label: a number of the upright axis as text.
        width, rows: cells of the whole drawing across, and of its field down.
    """

    title: str
    lines: Sequence[Line]
    label: Callable[[float], str]
    width: int
    rows: int


@dataclass(frozen=True)
class _Axis:
    """Logarithms from ``low`` to ``high`` on ``cells`` cells."""

    low: float
    high: float
    cells: int

    @classmethod
    def of(cls, values: Sequence[float], cells: int) -> _Axis:
        low, high = math.log(min(values)), math.log(max(values))
        return cls(low, high, cells) if high > low else cls(low - 0.5, high + 0.5, cells)

    def cell(self, value: float) -> int:
        return round((math.log(value) - self.low) / (self.high - self.low) * (self.cells - 1))

    def value(self, cell: int) -> float:
        return math.exp(self.low + (self.high - self.low) * cell / max(1, self.cells - 1))


def draw(canvas: Canvas, plot: Plot) -> list[Text]:
    """The drawing, a text a line: the title, the field with its upright axis, and the lengths below."""
    y = _Axis.of([point[1] for line in plot.lines for point in line.points], plot.rows)
    ticks = {row: plot.label(y.value(row)) for row in (0, (plot.rows - 1) // 2, plot.rows - 1)}
    label = max(canvas.text(tick).cell_len for tick in ticks.values())
    lengths = sorted({point[0] for line in plot.lines for point in line.points})
    x = _Axis.of(lengths, max(_LEAST_COLUMNS, plot.width - label - 2 - len(compact(int(lengths[-1]))) // 2))
    field = _field(canvas, plot.lines, x, y)
    edge = "│" if canvas.unicode else "|"
    drawn = [canvas.text(plot.title, "bold")]
    for row in reversed(range(plot.rows)):
        tick = padded(canvas.text(ticks.get(row, ""), "dim"), label, right=True)
        text = canvas.text("").append_text(tick).append_text(canvas.text(f" {edge}", "dim"))
        drawn.append(text.append_text(_row(canvas, field, row, x.cells)))
    return [*drawn, _lengths(canvas, lengths, x, label + 2, plot.width)]


def _field(canvas: Canvas, lines: Sequence[Line], x: _Axis, y: _Axis) -> dict[tuple[int, int], Text]:
    """What stands in each cell (column, row from below): marks before dots, the first line before the others."""
    field: dict[tuple[int, int], Text] = {}
    for line in lines:
        for point in line.points:
            field.setdefault((x.cell(point[0]), y.cell(point[1])), canvas.text(line.mark, line.style))
    dot = "·" if canvas.unicode else "."
    for line in lines:
        for (x0, y0), (x1, y1) in zip(line.points, line.points[1:], strict=False):
            first, last = x.cell(x0), x.cell(x1)
            for column in range(first + 1, last):
                part = (column - first) / (last - first)
                row = round(y.cell(y0) + part * (y.cell(y1) - y.cell(y0)))
                field.setdefault((column, row), canvas.text(dot, line.style))
    return field


def _row(canvas: Canvas, field: dict[tuple[int, int], Text], row: int, columns: int) -> Text:
    text = canvas.text("")
    for column in range(columns):
        text.append_text(field.get((column, row)) or canvas.text(" "))
    return text


def _lengths(canvas: Canvas, lengths: Sequence[float], x: _Axis, indent: int, width: int) -> Text:
    """The lengths below their columns, those left out that would touch the one before."""
    shown, behind = " " * indent, 0
    for length in lengths:
        name = compact(int(length))
        start = max(behind, indent + x.cell(length) - len(name) // 2)
        start = min(start, width - len(name))
        if start >= behind:
            shown = shown.ljust(start) + name
            behind = start + len(name) + 1
    return canvas.text(shown, "dim")
