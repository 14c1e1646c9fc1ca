"""Metrics over layers or steps: every head, their median, and the quartiles around it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from attn_cli.inspection.metrics import METRICS
from attn_cli.inspection.over_calls import HeadSummary
from attn_cli.reporters.figures.look import COLOURS, DARK, GREY, NORMAL, SMALL, Look
from attn_cli.reporters.figures.sheet import MARGIN, Sheet, line_height

_LOW = 1.15  # inches of a panel's frame
_AROUND_LEFT, _GAP = 0.42, 0.18
_ABOVE = 0.2
_WIDE_ENOUGH = 5.0
_LONG_NAME = 4


@dataclass(frozen=True)
class Curves:
    """What is drawn.

    Attributes:
        look: width and letters.
        metrics: a panel each.
        names: of the layers or steps.
        what: ``"layer"`` or ``"step"``.
        heads: of each of them.
        same_heads: whether a head's number means the same head at each of them, as in the steps of one module.
    """

    look: Look
    metrics: Sequence[str]
    names: Sequence[str]
    what: str
    heads: Sequence[Sequence[HeadSummary]]
    same_heads: bool

    @property
    def across(self) -> int:
        """Panels in a line."""
        most = 4 if self.look.width >= _WIDE_ENOUGH else 2
        return min(len(self.metrics), most)

    @property
    def has_long_names(self) -> bool:
        """Whether the names have to stand upright."""
        return any(len(name) > _LONG_NAME for name in self.names)

    @property
    def below(self) -> float:
        """Inches for the names below a panel."""
        names = max(self.look.letters.width(name, SMALL) for name in self.names)
        return (names if self.has_long_names else line_height(SMALL)) + line_height(NORMAL) + 0.1

    @property
    def line(self) -> float:
        """From one line of panels to the next."""
        return _ABOVE + _LOW + self.below

    @property
    def height(self) -> float:
        """Of all panels and the legend."""
        return -(-len(self.metrics) // self.across) * self.line + line_height(SMALL) + 0.08


def draw_curves(sheet: Sheet, top: float, curves: Curves) -> None:
    """A panel for each metric and one legend.

    A head of one layer has nothing to do with the same number in the next, so layers get points and steps get lines.
    """
    pitch = (sheet.width - MARGIN) / curves.across
    drawn = None
    for number, metric in enumerate(curves.metrics):
        line, column = divmod(number, curves.across)
        left, upper = column * pitch + _AROUND_LEFT, top + line * curves.line + _ABOVE
        axes = sheet.axes(left, upper, pitch - _AROUND_LEFT - _GAP / 2, _LOW)
        _draw(axes, curves, metric)
        drawn = drawn or axes
    assert drawn is not None  # there is a metric
    handles, labels = drawn.get_legend_handles_labels()
    where = (_AROUND_LEFT / sheet.width, 1 - (top + curves.height - line_height(SMALL) - 0.08) / sheet.height)
    sheet.figure.legend(handles, labels, loc="upper left", bbox_to_anchor=where, ncols=3, borderaxespad=0)


def _draw(axes: Axes, curves: Curves, name: str) -> None:
    values = _values(curves.heads, name)  # (lines, heads)
    places = np.arange(len(values))
    if curves.same_heads:
        axes.plot(places, values, color=COLOURS[5], linewidth=0.5, alpha=0.7)
        axes.plot([], [], color=COLOURS[5], linewidth=0.5, label="a head")
    else:
        x = np.broadcast_to(places[:, None], values.shape)
        axes.plot(x.ravel(), values.ravel(), ".", color=COLOURS[5], markersize=2.5, markeredgewidth=0, label="a head")
    known = np.isfinite(values).any(axis=1)
    quartiles = np.full((3, len(values)), math.nan)
    quartiles[:, known] = np.nanpercentile(np.where(np.isfinite(values), values, math.nan)[known], [25, 50, 75], axis=1)
    axes.plot(places, quartiles[1], color=COLOURS[0], marker="o", markersize=2.2, label="median")
    axes.fill_between(places, quartiles[0], quartiles[2], color=COLOURS[0], alpha=0.2, linewidth=0, label="quartiles")
    _name(axes, curves, name, is_empty=not bool(known.any()))


def _values(heads: Sequence[Sequence[HeadSummary]], name: str) -> NDArray[np.float64]:
    """``(lines, heads)``; NaN where there is no such head, or no value."""
    numbers = sorted({head.head for line in heads for head in line})
    place_of = {number: place for place, number in enumerate(numbers)}
    values = np.full((len(heads), len(numbers)), math.nan)
    for line, summaries in enumerate(heads):
        for head in summaries:
            values[line, place_of[head.head]] = head.values.get(name, math.nan)
    return values


def _name(axes: Axes, curves: Curves, name: str, *, is_empty: bool) -> None:
    unit = next(metric.unit for metric in METRICS if metric.name == name)
    axes.set_title(name, fontweight="bold")
    axes.set_ylabel(unit)
    axes.set_xlabel(curves.what)
    axes.set_xlim(-0.5, len(curves.names) - 0.5)
    if unit == "share" and not is_empty:
        axes.set_ylim(-0.02, 1.02)
    step = 1 if curves.has_long_names else max(1, -(-len(curves.names) // 12))
    shown = range(0, len(curves.names), step)
    turned = 90 if curves.has_long_names else 0
    axes.set_xticks(list(shown), labels=[curves.names[one] for one in shown], rotation=turned)
    for label in axes.get_xticklabels():
        label.set_fontfamily(curves.look.letters.families(label.get_text()))
    axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
    axes.grid(axis="y", color=DARK, alpha=0.12, linewidth=0.4)
    axes.spines[["top", "right"]].set_visible(False)
    if is_empty:
        axes.set_yticks([])
        axes.text(0.5, 0.5, "no head has a value", transform=axes.transAxes, ha="center", va="center", color=GREY)
