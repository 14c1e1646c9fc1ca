"""Figures as matplotlib's own objects, drawn by hand-made results."""

from __future__ import annotations

import io
from dataclasses import dataclass, field

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from attn_cli.reporters.figures import DOUBLE, FigureFile, FigureRequest
from attn_cli.reporters.figures.bench import bench_figure
from attn_cli.reporters.figures.look import our_style
from attn_cli.reporters.figures.run import run_figure


@dataclass
class Drawn:
    """A figure that was drawn for one format, with its text and its pictures."""

    figure: Figure
    texts: list[str] = field(default_factory=list)

    @property
    def pictures(self) -> list[Axes]:
        """Axes with an image, but for the sinks' columns; the colour bar has none."""
        return [axes for axes in self.figure.axes if axes.images and not is_sink(axes)]

    @property
    def sinks(self) -> list[Axes]:
        return [axes for axes in self.figure.axes if axes.images and is_sink(axes)]

    def named(self, title: str) -> Axes:
        return next(axes for axes in self.figure.axes if axes.get_title(loc="left") == title)


def is_sink(axes):
    return axes.images[0].get_array().shape[1] == 1 and axes.get_position().width < 0.03


def drawn(result, wanted="png", width=DOUBLE, of=run_figure):
    """A result's figure, laid out and drawn once, so that every text is in its place."""
    with our_style(wanted, width) as look:
        figure = of(result, look)
        figure.savefig(io.BytesIO(), format="png", backend="agg")
    own = [text.get_text() for text in figure.texts]
    for axes in figure.axes:
        own += ticks(axes, "x") + ticks(axes, "y") + [text.get_text() for text in axes.texts]
    legends = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    return Drawn(figure, own + legends)


def drawn_bench(report, width=DOUBLE):
    return drawn(report, width=width, of=bench_figure)


def ticks(axes, side):
    labels = axes.get_xticklabels() if side == "x" else axes.get_yticklabels()
    return [label.get_text() for label in labels]


def weights_of(axes):
    """The image's numbers, NaN where it is clear."""
    return np.ma.filled(axes.images[0].get_array().astype(float), np.nan)


def asked(tmp_path, *formats, name="out", width=DOUBLE):
    return FigureRequest(tuple(FigureFile(str(tmp_path / f"{name}.{one}"), one) for one in formats), width)
