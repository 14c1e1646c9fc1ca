"""A figure as a sheet of paper: inches from its upper left corner."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from attn_cli.reporters.figures.look import GREY, NORMAL, POINTS, SMALL, Look

MARGIN = 0.05
LINE = 1.35  # of a text's size: from one line to the next


@dataclass(frozen=True)
class Sheet:
    """A figure and its size in inches."""

    look: Look
    figure: Figure
    height: float

    @classmethod
    def of(cls, look: Look, height: float) -> Sheet:
        """An empty sheet of the look's width."""
        return cls(look, look.figure(height), height)

    @property
    def width(self) -> float:
        """Inches."""
        return self.look.width

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """Axes whose frame is there."""
        bottom = self.height - top - height
        box = (left / self.width, bottom / self.height, width / self.width, height / self.height)
        return self.figure.add_axes(box)

    def text(self, left: float, top: float, value: str, size: float = NORMAL, **style: Any) -> Text:
        """A line of text whose upper left corner is there; ``ha`` and ``va`` say otherwise."""
        place = {"ha": "left", "va": "top", "family": self.look.letters.families(value), **style}
        return self.figure.text(left / self.width, 1 - top / self.height, value, size=size, **place)

    def caption(self, top: float, lines: Sequence[str]) -> None:
        """Small lines, one below the other."""
        for number, line in enumerate(lines):
            self.text(MARGIN, top + number * line_height(SMALL), line, SMALL, color=GREY)


def line_height(size: float) -> float:
    """Inches from one line to the next."""
    return size * LINE / POINTS


def wrapped(look: Look, parts: Sequence[str], size: float = SMALL, room: float | None = None) -> list[str]:
    """The parts with dots between them, in as many lines as it takes; one that is too long for a line is cut.

    Args:
        look: width and letters.
        parts: empty ones are left out.
        size: points.
        room: inches of a line; None is the width of the sheet.
    """
    room, lines = look.width - 2 * MARGIN if room is None else room, [""]
    for part in filter(None, parts):
        longer = f"{lines[-1]} · {part}" if lines[-1] else part
        if lines[-1] and look.letters.width(longer, size) > room:
            lines.append(part)
        else:
            lines[-1] = longer
    return [look.letters.shortened(line, size, room) for line in lines if line]
