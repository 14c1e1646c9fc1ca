"""Where the pictures of a call's heads stand on a page."""

from __future__ import annotations

from dataclasses import dataclass

from attn_cli.reporters.figures.axis_names import LEAST_CELL, AxisNames
from attn_cli.reporters.figures.look import NORMAL, POINTS, SMALL, Look
from attn_cli.reporters.figures.sheet import MARGIN, line_height

PAGE = 9.6  # inches of height at most, where smaller pictures make it so
GAP, SINK_GAP = 0.11, 0.025
AXIS_NAME = line_height(NORMAL)
_USUAL, _IN_ONE_LINE, _LARGEST_TOKENS, _LARGEST, _SMALLEST, _LOWEST = 1.45, 1.1, 3.3, 4.5, 0.4, 0.3
_TICK = 0.05
_SUBTITLED = 0.9  # inches of a panel that has room for a second line above it


@dataclass(frozen=True)
class Wanted:
    """What a grid is for.

    Attributes:
        bands: rows of panels that begin anew: batch items.
        heads: panels of a band.
        rows, columns: cells of a picture.
        ratio: of a picture's height to its width.
        has_sink: whether each has a column for the sink.
        numbers: the names of the rows and the columns where they are numbers.
        tokens: those of each band where they are tokens; empty where they are not known.
        has_titles: whether the bands have titles.
    """

    bands: int
    heads: int
    rows: int
    columns: int
    ratio: float
    has_sink: bool
    numbers: tuple[AxisNames, AxisNames]
    tokens: tuple[tuple[AxisNames, AxisNames], ...]
    has_titles: bool


@dataclass(frozen=True)
class Grid:
    """Sizes in inches.

    Attributes:
        wanted: what it is for.
        across: panels in a line.
        with_tokens: whether tokens are written.
        left: room for the names of the rows.
        below: room for the names of the columns.
        width, height: of a picture without its sink.
        sink: width of the sink's column with the gap behind it; 0 without sinks.
    """

    wanted: Wanted
    across: int
    with_tokens: bool
    left: float
    below: float
    width: float
    height: float
    sink: float

    @property
    def panel(self) -> float:
        """Width of a picture with its sink."""
        return self.width + self.sink

    @property
    def has_subtitles(self) -> bool:
        """Whether the metric stands below the title."""
        return self.panel >= _SUBTITLED

    @property
    def title(self) -> float:
        """Room above a picture."""
        return line_height(NORMAL) + (line_height(SMALL) if self.has_subtitles else 0.0) + 0.045

    @property
    def lines(self) -> int:
        """Lines of panels in a band."""
        return -(-self.wanted.heads // self.across)

    @property
    def line(self) -> float:
        """From one line of panels to the next."""
        return self.title + self.height + GAP * 0.6

    @property
    def band_title(self) -> float:
        """Room above a band."""
        return line_height(NORMAL) + 0.02 if self.wanted.has_titles else 0.0

    @property
    def band(self) -> float:
        """From one band to the next."""
        return self.band_title + self.lines * self.line + self.below

    @property
    def total(self) -> float:
        """Height of all bands."""
        return self.wanted.bands * self.band - GAP * 0.6

    @property
    def cell(self) -> float:
        """Points of a cell's shorter side."""
        return min(self.width / self.wanted.columns, self.height / self.wanted.rows) * POINTS

    def corner(self, band: int, place: int) -> tuple[float, float]:
        """Left and top of a panel's picture, the sink's column included."""
        line, column = divmod(place, self.across)
        top = band * self.band + self.band_title + line * self.line + self.title
        return self.left + column * (self.panel + GAP), top

    def is_first(self, place: int) -> bool:
        """Whether a panel stands at the left."""
        return place % self.across == 0

    def is_last(self, place: int) -> bool:
        """Whether no panel stands below this one."""
        return place + self.across >= self.wanted.heads


def arrange(look: Look, wanted: Wanted) -> Grid:
    """The grid with tokens where every one of them can be read, else with numbers, and no higher than a page."""
    if wanted.tokens:
        needed = max(wanted.columns * LEAST_CELL, wanted.rows * LEAST_CELL / wanted.ratio)
        grid = _fitting(look, wanted, needed, with_tokens=True)
        is_readable = grid.width / wanted.columns >= LEAST_CELL and grid.height / wanted.rows >= LEAST_CELL
        if needed <= _LARGEST_TOKENS and is_readable:
            return grid
    return _fitting(look, wanted, 0.0, with_tokens=False)


def _fitting(look: Look, wanted: Wanted, needed: float, *, with_tokens: bool) -> Grid:
    """Panels of at least ``needed`` inches where a page holds them, else as many in a line as it takes.

    All heads stand in one line where they can.
    """
    room = look.width - _left(look, wanted, with_tokens) - MARGIN + GAP
    across = int(room / (max(needed, _IN_ONE_LINE) + GAP))
    if across < wanted.heads:
        across = max(1, int(room / (max(needed, _USUAL) + GAP)))
        across = -(-wanted.heads // -(-wanted.heads // across))
    across = min(across, wanted.heads)
    grid = _grid(look, wanted, across, with_tokens)
    while grid.total > PAGE and across < wanted.heads:
        across += 1
        smaller = _grid(look, wanted, across, with_tokens)
        if smaller.panel < _SMALLEST:
            break
        grid = smaller
    return grid


def _grid(look: Look, wanted: Wanted, across: int, with_tokens: bool) -> Grid:
    left = _left(look, wanted, with_tokens)
    panel = (look.width - left - MARGIN - (across - 1) * GAP) / across
    sink = max(0.06, min(0.12, panel / (wanted.columns + 1))) + SINK_GAP if wanted.has_sink else 0.0
    width = min(panel - sink, _LARGEST, _LARGEST / wanted.ratio)
    columns = [names[1] for names in wanted.tokens] if with_tokens else [wanted.numbers[1]]
    high = max(names.width(look) for names in columns) if with_tokens else line_height(SMALL)
    below = high + _TICK + AXIS_NAME + GAP
    return Grid(wanted, across, with_tokens, left, below, width, max(_LOWEST, width * wanted.ratio), sink)


def _left(look: Look, wanted: Wanted, with_tokens: bool) -> float:
    """Room for the names of the rows and of their axis."""
    sides = [names[0] for names in wanted.tokens] if with_tokens else [wanted.numbers[0]]
    return MARGIN + AXIS_NAME + max(names.width(look) for names in sides) + _TICK
