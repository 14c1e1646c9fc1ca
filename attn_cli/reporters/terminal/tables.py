"""Tables that page their columns: what does not fit beside the others continues below, nothing is cut off.

An entry that is too wide by itself goes on in a line below, broken behind a dot of its name where there is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import zip_longest

from rich.cells import cell_len
from rich.text import Text

from attn_cli.reporters.terminal.canvas import Canvas, padded

_GAP = 2
INDENT = 2
_MOST_LINES = 8  # of an entry: three hundred cells at a width of 80


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        header: what stands above it.
        cells: one a row.
        right: True for numbers, which align at their right end.
        repeat: True for the columns that say which row this is; they start every page.
        most: cells that an entry may take in a line, or None.
    """

    header: Text
    cells: tuple[Text, ...]
    right: bool = True
    repeat: bool = False

    most: int | None = None

    @cached_property
    def width(self) -> int:
        """Cells that the widest entry takes, at most ``most``."""
        widest = max(text.cell_len for text in (self.header, *self.cells))
        return widest if self.most is None else min(widest, self.most)

    def lines(self, canvas: Canvas, row: int) -> list[Text]:
        """An entry in lines of at most ``most`` cells, of an endless one the first; row −1 is the header."""
        text = self.header if row < 0 else self.cells[row]
        if self.most is None:
            return [text]
        return folded(canvas.fit(text, _MOST_LINES * self.most), self.most)


def print_table(canvas: Canvas, columns: Sequence[Column], gap: int = _GAP, indent: int = INDENT) -> None:
    """Print the columns, on as many pages below each other as the width asks for."""
    for number, page in enumerate(pages(columns, canvas.width - indent, gap)):
        if number:
            canvas.line()
        for row in range(-1, len(page[0].cells)):
            for texts in zip_longest(*(column.lines(canvas, row) for column in page)):
                cells = [
                    padded(text or canvas.text(""), column.width, column.right)
                    for text, column in zip(texts, page, strict=True)
                ]
                canvas.line(" " * indent, canvas.text(" " * gap).join(cells))


def pages(columns: Sequence[Column], width: int, gap: int = _GAP) -> list[list[Column]]:
    """Deal the columns out over pages of at most ``width`` cells, each beginning with those that repeat.

    The entries of a column that is too wide even alone are folded.
    """
    repeated = [column for column in columns if column.repeat]
    repeated = [_narrow(column, max(1, width // (len(repeated) + 1) - gap)) for column in repeated]
    taken = sum(column.width + gap for column in repeated)
    dealt: list[list[Column]] = []
    used = width + 1
    for column in (column for column in columns if not column.repeat):
        column = _narrow(column, max(1, width - taken))
        if used + gap + column.width > width:
            dealt.append(list(repeated))
            used = taken - gap
        dealt[-1].append(column)
        used += gap + column.width
    return dealt or [repeated]


def _narrow(column: Column, width: int) -> Column:
    return column if column.width <= width else replace(column, most=width)


def folded(text: Text, width: int) -> list[Text]:
    """``text`` in lines of at most ``width`` cells, broken behind a dot or a space where one is near a line's end."""
    lines: list[Text] = []
    while text.cell_len > width:
        plain, end = text.plain, 1
        while cell_len(plain[: end + 1]) <= width:
            end += 1
        at = max(plain.rfind(".", end // 2, end), plain.rfind(" ", end // 2, end)) + 1
        lines.append(text[: at or end])
        text = text[at or end :]
    return [*lines, text]
