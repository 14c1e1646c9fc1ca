"""What stands at the rows and columns of a picture: tokens where they fit, else some of the numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from attn_cli.reporters.figures.look import POINTS, SMALL, Look
from attn_cli.reporters.terminal.captions import pictured_queries
from attn_cli.reporters.terminal.labels import Names
from attn_cli.reporters.terminal.text import compact
from attn_cli.results import CallResult

LEAST_CELL = SMALL * 1.08 / POINTS  # inches of a row that is to have a name
LONGEST = 0.62  # inches of a token
_EVERY_NUMBER = 12
_NUMBERS = 5
_APART = 1.25  # of a name's width from one to the next


@dataclass(frozen=True)
class AxisNames:
    """The names along one side of a picture.

    Attributes:
        places: where, in cells; the first cell's middle is 0.
        names: what stands there.
    """

    places: tuple[float, ...]
    names: tuple[str, ...]

    def width(self, look: Look) -> float:
        """Inches of the longest."""
        return max((look.letters.width(name, SMALL) for name in self.names), default=0.0)

    def thinned(self, look: Look, cell: float) -> AxisNames:
        """So few of them, evenly, that side by side none runs into the next.

        Args:
            look: the letters.
            cell: inches of one.
        """
        if len(self.places) < 2:
            return self
        between = (self.places[-1] - self.places[0]) / (len(self.places) - 1) * cell
        every = max(1, math.ceil(self.width(look) * _APART / between))
        return AxisNames(self.places[::every], self.names[::every])

    def show(self, look: Look, axes: Axes, side: Literal["x", "y"], *, upright: bool = False) -> None:
        """Write them at a side of a picture; ``upright`` turns them by a quarter."""
        axis = axes.xaxis if side == "x" else axes.yaxis
        axis.set_ticks(list(self.places), labels=list(self.names), rotation=90 if upright else 0)
        for label in axis.get_ticklabels():
            label.set_fontfamily(look.letters.families(label.get_text()))


def token_names(look: Look, call: CallResult, batch: int) -> tuple[AxisNames, AxisNames] | None:
    """The tokens of the queries and of the keys of one batch item of the selection; None where they are not known.

    A query that is no token goes by its number.
    """
    names, pictures = Names.of(call), call.inspection.pictures
    if names.tokens is None or pictures.query_pool * pictures.key_pool > 1:
        return None
    original, letters = call.inspection.index.batch[batch], look.letters
    queries = [names.query(original, query) or str(query) for query in pictured_queries(call).tolist()]
    first = pictures.first_key
    keys = [names.key(original, key) or str(key) for key in range(first, first + pictures.weights.shape[3])]
    shown = ([letters.shortened(letters.text(name), SMALL, LONGEST) for name in side] for side in (queries, keys))
    rows, columns = (AxisNames(tuple(map(float, range(len(side)))), tuple(side)) for side in shown)
    return rows, columns


def number_names(call: CallResult) -> tuple[AxisNames, AxisNames]:
    """Some numbers of the queries and of the keys in the whole call."""
    pictures = call.inspection.pictures
    queries = pictured_queries(call).tolist()
    last = min(pictures.first_key + pictures.weights.shape[3] * pictures.key_pool, call.num_keys)
    if pictures.zoom is not None and pictures.zoom.key_stop is not None:
        last = min(last, pictures.zoom.key_stop)
    keys = range(pictures.first_key, last)
    name = compact if pictures.zoom is None else str  # in a narrow zoom the last digits tell them apart
    return _numbers(queries, pictures.query_pool, name), _numbers(keys, pictures.key_pool, name)


def _numbers(numbers: Sequence[int], pool: int, name: Callable[[int], str]) -> AxisNames:
    """Round numbers where they follow each other, else evenly spaced ones."""
    count = len(numbers)
    if count <= _EVERY_NUMBER and pool == 1:
        chosen = list(range(count))
    elif numbers[-1] - numbers[0] == count - 1:
        round_ones = MaxNLocator(_NUMBERS, integer=True, steps=[1, 2, 5, 10]).tick_values(numbers[0], numbers[-1])
        chosen = [int(one) - numbers[0] for one in round_ones if numbers[0] <= one <= numbers[-1]]
    else:
        chosen = list(range(0, count, -(-count // _NUMBERS)))
    # A cell of several rows spans from −½ to ½: a row's place is where its own middle is.
    places = tuple((one + 0.5) / pool - 0.5 for one in chosen)
    return AxisNames(places, tuple(name(numbers[one]) for one in chosen))
