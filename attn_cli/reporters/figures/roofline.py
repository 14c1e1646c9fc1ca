"""FLOP/s against FLOPs a byte, below what the device was measured to reach (Williams et al. 2009)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from attn_cli.benchmark.types import BenchResult, Peaks
from attn_cli.reporters.figures.look import DARK, GREY, SMALL
from attn_cli.reporters.figures.words import trimmed
from attn_cli.reporters.terminal.bench_numbers import rate

_AROUND = 3.0  # how far beyond the points the axis of FLOPs a byte goes
_POINTS = 129


def draw_roofline(
    axes: Axes, shown: Sequence[BenchResult], peaks: Peaks, styles: Mapping[str, tuple[str, str]]
) -> list[Line2D]:
    """A point for each result and the roof above them. Returns what the legend tells.

    Args:
        axes: empty.
        shown: results of one dtype that were timed, at least one.
        peaks: what the device reaches.
        styles: a colour and a mark for each backend.
    """
    axes.set_xscale("log")
    axes.set_yscale("log")
    _draw_roof(axes, shown, peaks)
    for result in shown:
        colour, mark = styles[result.backend]
        assert result.intensity is not None  # only such results are shown
        assert result.tflops is not None
        fill = colour if result.is_quick else "white"
        style: dict[str, Any] = {"markeredgecolor": colour, "markerfacecolor": fill, "markeredgewidth": 0.6}
        axes.plot(result.intensity, result.tflops * 1e12, mark, **style)
    axes.margins(y=0.12)
    _name(axes)
    return _handles(shown, styles)


def _name(axes: Axes) -> None:
    axes.set_xlabel("FLOPs a byte")
    axes.set_ylabel("FLOP/s")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: trimmed(rate(value, ""))))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(10.0, numticks=7))
        axis.set_minor_formatter(NullFormatter())


def _draw_roof(axes: Axes, shown: Sequence[BenchResult], peaks: Peaks) -> None:
    """The copy's slope and the matrix product's ceiling; nothing where one of them was not measured."""
    dtype = shown[0].case.dtype
    most, speed = peaks.flops_per_s.get(dtype), peaks.bytes_per_s
    intensities = [result.intensity for result in shown if result.intensity is not None]
    if most is None or speed is None:
        return
    ridge = most / speed
    low, high = min(*intensities, ridge) / _AROUND, max(*intensities, ridge) * _AROUND
    x = np.unique(np.append(np.geomspace(low, high, _POINTS), ridge))
    axes.plot(x, [peaks.roofline(dtype, float(one)) or np.nan for one in x], color=DARK, linewidth=0.9)
    style: dict[str, Any] = {"textcoords": "offset points", "size": SMALL, "color": GREY}
    axes.annotate(rate(most, "FLOP/s"), (high, most), (0, 2), ha="right", va="bottom", **style)
    middle = (ridge * low) ** 0.5  # of the slope; below it there is room
    axes.annotate(rate(speed, "B/s"), (middle, middle * speed), (4, -1), ha="left", va="top", **style)


def _handles(shown: Sequence[BenchResult], styles: Mapping[str, tuple[str, str]]) -> list[Line2D]:
    """The backends; hollow marks where some result is not known to be right."""
    handles = []
    for backend in dict.fromkeys(result.backend for result in shown):
        colour, mark = styles[backend]
        handles.append(Line2D([], [], color=colour, marker=mark, linestyle="", label=backend))
    if any(not result.is_quick for result in shown):
        hollow: dict[str, Any] = {"markerfacecolor": "white", "markeredgewidth": 0.6}
        said = "hollow: wrong, or not compared"
        handles.append(Line2D([], [], color=GREY, marker="o", linestyle="", label=said, **hollow))
    return handles
