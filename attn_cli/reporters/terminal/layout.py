"""How large the heads' pictures are and how their cells are drawn, from the width there is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from attn_cli.reporters.terminal.canvas import MIN_WIDTH, Canvas
from attn_cli.reporters.terminal.cells import SINK_WIDTH, TOKEN_HEIGHT, Layout, fitting

GAP = 2
_LABEL = 5
_TOKEN_LABEL = 10
_FEW_HEADS = 6
_WIDTH_OF_FEW = 39
_WIDTH_OF_MANY = 25
_MOST_ROWS = 80
_MOST_LINES = 60
_FEW_PICTURES = 4
_MOST_LINES_OF_FEW = 100
_WIDEST_NUMBER = 8


def picture_limits(width: int, heads: int, last_query: int | None = None) -> tuple[int, int]:
    """How many (rows, columns) of cells a head's picture may have, so that several heads stand side by side.

    Args:
        width: columns of the terminal.
        heads: how many are shown; one alone gets most of the width.
        last_query: the largest number of a row where numbers are written in full, as in a zoom.
    """
    width, heads = max(width, MIN_WIDTH), max(heads, 1)
    label = _LABEL if last_query is None else max(_LABEL, len(str(last_query)) + 1)
    if heads == 1:
        columns = width - label - SINK_WIDTH
    else:
        wanted = _WIDTH_OF_FEW if heads <= _FEW_HEADS else _WIDTH_OF_MANY
        across = balanced(heads, max(1, (width + GAP) // (wanted + GAP)))
        columns = (width + GAP) // across - GAP - label
    return min(columns, _MOST_ROWS), columns


def balanced(pictures: int, across: int) -> int:
    """How many pictures stand in a line where at most ``across`` do and no line shall be much shorter than others."""
    lines = -(-pictures // across)
    return -(-pictures // lines)


@dataclass(frozen=True)
class Space:
    """What the pictures of a call need.

    Attributes:
        pictures: how many there are.
        rows, columns: cells of each.
        has_sink: whether each has a column for the learned sink.
        title: width of the widest title.
        numbers: width of the widest row number.
        tokens: the names of the rows where tokens are known, else empty.
    """

    pictures: int
    rows: int
    columns: int
    has_sink: bool
    title: int
    numbers: int
    tokens: Sequence[str]

    def panel(self, canvas: Canvas, layout: Layout) -> int:
        """Width of one picture with its title."""
        return max(layout.width(self.columns, self.has_sink), min(self.title, canvas.width))

    def across(self, canvas: Canvas, layout: Layout) -> int:
        """How many pictures fit side by side; 0 where not even one does."""
        return (canvas.width + GAP) // (self.panel(canvas, layout) + GAP)

    def lines(self, canvas: Canvas, layout: Layout) -> int:
        """Lines that all pictures take, where at least one fits."""
        rows = -(-self.rows // 2) if canvas.ramp is not None and layout.mode == "halves" else self.rows
        names = TOKEN_HEIGHT if layout.tokens and layout.mode == "blocks" else 1
        return -(-self.pictures // self.across(canvas, layout)) * (rows + names + 2)


def choose_layout(canvas: Canvas, space: Space) -> Layout:
    """The layout that tells most and still fits the width and a bearable number of lines.

    Where none fits, the smallest: its columns are then paged.
    """
    layouts = list(_layouts(canvas, space))
    most = _MOST_LINES_OF_FEW if space.pictures <= _FEW_PICTURES else _MOST_LINES
    for layout in layouts:
        if space.across(canvas, layout) and (space.pictures == 1 or space.lines(canvas, layout) <= most):
            return _widened(canvas, space, layout)
    return layouts[-1]


def _layouts(canvas: Canvas, space: Space) -> Iterable[Layout]:
    """All layouts, from the one that tells most to the smallest."""
    if space.tokens:
        label = fitting(canvas, space.tokens, _TOKEN_LABEL)
        yield Layout("numbers", 4, label, tokens=True)
        yield Layout("blocks", 2, label, tokens=True)
    yield Layout("numbers", 4, space.numbers, tokens=False)
    yield Layout("blocks", 2, space.numbers, tokens=False)
    yield Layout("halves", 1, space.numbers, tokens=False)


def _widened(canvas: Canvas, space: Space, layout: Layout) -> Layout:
    """Numbers under tokens get wider cells as long as no fewer pictures stand side by side."""
    if layout.mode != "numbers" or not layout.tokens:
        return layout
    across = space.across(canvas, layout)
    most = min(_WIDEST_NUMBER, fitting(canvas, space.tokens, _WIDEST_NUMBER) + 1)
    while layout.cell < most and space.across(canvas, replace(layout, cell=layout.cell + 1)) == across:
        layout = replace(layout, cell=layout.cell + 1)
    return layout
