"""Time or memory against the length, both on logarithmic axes, with the fitted exponent."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from attn_cli.benchmark.types import Growth
from attn_cli.reporters.figures.words import trimmed
from attn_cli.reporters.terminal.bench_numbers import exponent, size
from attn_cli.reporters.terminal.figures import milliseconds
from attn_cli.reporters.terminal.text import compact

Styles = Mapping[str, tuple[str, str]]
_MOST_LENGTHS = 6
_LEAST_SPAN = 1.001  # largest over smallest value; matplotlib finds no limits of its own around a level line


@dataclass(frozen=True)
class Quantity:
    """What grows.

    Attributes:
        title: its name.
        values: at each length of a series; None where unknown.
        slope: the fitted exponent.
        text: one value in words.
        base: of its axis' ticks.
    """

    title: str
    values: Callable[[Growth], Sequence[float | None]]
    slope: Callable[[Growth], float | None]
    text: Callable[[float], str]
    base: float


TIME = Quantity("time", lambda one: one.median_ms, lambda one: one.time_exponent, milliseconds, 10.0)
MEMORY = Quantity(
    "memory", lambda one: one.memory_bytes, lambda one: one.memory_exponent, lambda value: size(round(value)), 4.0
)


def points(growth: Growth, what: Quantity) -> tuple[list[int], list[float]]:
    """Lengths and values, where there is one above 0."""
    pairs = zip(growth.lengths, what.values(growth), strict=True)
    known = [(length, value) for length, value in pairs if value]
    return [length for length, _ in known], [value for _, value in known]


def has_points(growth: Growth, what: Quantity) -> bool:
    """Whether there is anything that grows: two lengths or more."""
    return len(points(growth, what)[0]) > 1


def draw_growth(axes: Axes, shown: Sequence[Growth], what: Quantity, styles: Styles) -> list[Line2D]:
    """A line for each backend and a dashed one for its fit. Returns what the legend tells.

    Args:
        axes: empty.
        shown: the series, at least one, each with two points or more.
        what: time or memory.
        styles: a colour and a mark for each backend.
    """
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=what.base)
    everything = [value for growth in shown for value in points(growth, what)[1]]
    if max(everything) < _LEAST_SPAN * min(everything):
        axes.set_ylim(min(everything) / what.base, max(everything) * what.base)
    handles = []
    for growth in shown:
        (colour, mark), (lengths, values) = styles[growth.backend], points(growth, what)
        slope = what.slope(growth)
        told = f"{growth.backend} ~ {exponent(slope)}" if slope is not None else growth.backend
        axes.plot(lengths, values, mark, color=colour, alpha=0.9, markeredgewidth=0)
        if slope is not None and math.isfinite(slope):
            axes.plot(lengths, _fit(lengths, values, slope), "--", color=colour, linewidth=0.8)
        handles.append(Line2D([], [], color=colour, marker=mark, linestyle="--", linewidth=0.8, label=told))
    _name(axes, sorted({length for growth in shown for length in growth.lengths}), what)
    return handles


def _fit(lengths: Sequence[int], values: Sequence[float], slope: float) -> list[float]:
    """The line of this slope through the points' middle, on logarithmic axes."""
    middle = sum(map(math.log, lengths)) / len(lengths)
    level = sum(map(math.log, values)) / len(values)
    return [math.exp(level + slope * (math.log(length) - middle)) for length in lengths]


def _name(axes: Axes, lengths: Sequence[int], what: Quantity) -> None:
    shown = lengths[:: -(-len(lengths) // _MOST_LENGTHS)]
    axes.set_xticks(shown, labels=[compact(length) for length in shown])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_locator(_locator(axes, what))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: trimmed(what.text(value))))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.margins(0.06)
    axes.set_xlabel("keys")


def _locator(axes: Axes, what: Quantity) -> LogLocator:
    """Powers of the base; 1, 2 and 5 times these where fewer than two of them are in sight."""
    low, high = axes.get_ylim()
    if math.log(high / low, what.base) >= 2:
        return LogLocator(what.base, numticks=7)
    if what.base != 10.0:
        return LogLocator(2.0, numticks=7)
    return LogLocator(10.0, subs=(1.0, 2.0, 5.0), numticks=7)
