"""A metric above all others: its values on colours, what it is, and why no head has it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from rich.style import Style
from rich.text import Text

from attn_cli.inspection.metrics import METRICS, Metric
from attn_cli.reporters.terminal.canvas import Canvas
from attn_cli.reporters.terminal.figures import decimal
from attn_cli.reporters.terminal.palette import BAD, LEVELS

UNITS = {"share": "from 0 to 1", "ratio": "no unit", "logit": "logits"}
_NEEDS = {
    "learned_sink_mass": "learned sinks",
    "learned_sink_above_uniform": "learned sinks",
    "induction_score": "token ids",
    "duplicate_score": "token ids",
    "output_norm_relative": "every head of a layer",
    "projected_norm": "the output projection",
    "projected_norm_relative": "the output projection and every head of a layer",
}


@dataclass(frozen=True)
class Scale:
    """The colours of a metric's values, evenly from the lowest to the highest.

    Attributes:
        low, high: NaN where no head has a finite value.
    """

    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Scale:
        """From the smallest to the largest that is finite."""
        known = [value for value in values if math.isfinite(value)]
        return cls(min(known, default=math.nan), max(known, default=math.nan))

    @property
    def largest(self) -> float:
        """The largest size, which decides how many decimals are shown."""
        return max(abs(self.low), abs(self.high))

    def text(self, canvas: Canvas, value: float, is_broken: bool = False) -> Text:
        """A value on its colour; a dash where there is none, NaN where the head is broken."""
        if math.isfinite(value):
            return canvas.text(decimal(value, self.largest), self._style(canvas, value))
        if math.isnan(value) and not is_broken:
            return canvas.text("–", "dim")
        return canvas.text("NaN" if math.isnan(value) else "∞" if value > 0 else "−∞", BAD)

    def _style(self, canvas: Canvas, value: float) -> str | Style:
        """No colours where all values read the same."""
        if canvas.ramp is None or decimal(self.low, self.largest) == decimal(self.high, self.largest):
            return ""
        return canvas.ramp.number(round(LEVELS * (value - self.low) / (self.high - self.low)))


def metric_named(name: str) -> Metric:
    """The metric of this name, which there is."""
    return next(metric for metric in METRICS if metric.name == name)


def no_value(name: str) -> str:
    """Said where no head has a value, with what is missing where that is known."""
    return "no head has a value" + (f": it needs {_NEEDS[name]}" if name in _NEEDS else "")


def definition(canvas: Canvas, name: str) -> Text:
    """What the metric is, and where it was published."""
    metric = metric_named(name)
    return canvas.text(f"{metric.definition} Source: {metric.source}.", "dim")
