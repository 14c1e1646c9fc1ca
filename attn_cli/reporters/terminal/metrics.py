"""The metrics as a table, a row a head."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable

from rich.text import Text

from attn_cli.inspection.metrics import METRICS
from attn_cli.inspection.ranking import Order
from attn_cli.reporters.terminal.canvas import Canvas
from attn_cli.reporters.terminal.figures import decimal
from attn_cli.reporters.terminal.labels import is_broken
from attn_cli.reporters.terminal.metric_scale import UNITS, Scale, definition, no_value
from attn_cli.reporters.terminal.palette import BAD, LABEL_STYLES
from attn_cli.reporters.terminal.pictures import pictured_batches
from attn_cli.reporters.terminal.tables import Column, print_table
from attn_cli.reporters.terminal.text import ranges
from attn_cli.results import CallResult

_HEADERS = {
    "entropy": "entropy",
    "entropy_normalized": "of max",
    "effective_span": "span",
    "confidence": "conf.",
    "attention_distance": "dist.",
    "self_score": "self",
    "previous_score": "prev",
    "next_score": "next",
    "sink_score": "sink",
    "first4_mass": "first4",
    "learned_sink_mass": "learned sink",
    "induction_score": "induction",
    "duplicate_score": "duplicate",
    "max_logit": "max logit",
    "output_norm": "‖AV‖",
    "output_norm_relative": "‖AV‖ rel.",
    "projected_norm": "‖AVW‖",
    "projected_norm_relative": "‖AVW‖ rel.",
    "fully_masked_rows": "masked",
    "nonfinite": "nonfinite",
}
# What the labels are decided by; the JSON has them.
_LEFT_OUT = {
    "distance_ratio",
    "self_above_uniform",
    "previous_above_uniform",
    "next_above_uniform",
    "sink_above_uniform",
    "learned_sink_above_uniform",
    "confidence_above_uniform",
}
_COUNTS = {metric.name for metric in METRICS if metric.reduction == "sum"}
Place = list[tuple[int, int]]  # the batch items and the head that a row stands for
_RELATIVE = "rel.: over the mean of the layer's heads"


def print_metrics(canvas: Canvas, result: CallResult, metric: str | None = None, order: Order | None = None) -> None:
    """A row a head and batch item, or the plain means over the batch where those would be too many.

    Args:
        canvas: where to.
        result: one call.
        metric: the one that comes first, on colours and with its definition; None for none.
        order: which of its values come first; None leaves the heads in theirs.
    """
    index = result.inspection.index
    is_mean = len(pictured_batches(result)) < len(index.batch)
    canvas.heading("Metrics", f"plain means over batch {ranges(index.batch)}" if is_mean else "")
    names = _shown(result, metric)
    places = [[(b, h) for b in range(len(index.batch))] for h in range(len(index.heads))]
    if not is_mean:
        places = [[(b, h)] for b in range(len(index.batch)) for h in range(len(index.heads))]
    if order is not None and metric is not None and metric in names:
        places = _ranked(result, metric, places, order)
    columns = _row_columns(canvas, result, places, with_batch=index.total_batch > 1 and not is_mean)
    columns += [_column(canvas, result, places, name, is_above_all=name == metric) for name in names]
    print_table(canvas, columns)
    canvas.paragraph(_legend(canvas, names), indent=2)
    if metric is not None:
        said = definition(canvas, metric) if metric in names else canvas.text(no_value(metric), "dim")
        canvas.paragraph(canvas.join([canvas.text(f"{metric}:", "bold"), said]), indent=2)


def _shown(result: CallResult, above_all: str | None) -> list[str]:
    """The metrics that have a column, in the order of the registry; counts only where they count something."""
    found = result.inspection.metrics
    names = [metric.name for metric in METRICS if metric.name in found and metric.name not in _LEFT_OUT]
    order = {name: place for place, name in enumerate(_HEADERS)}
    names.sort(key=lambda name: order.get(name, len(order)))
    names = [name for name in names if name not in _COUNTS or bool((found[name] != 0).any())]
    if above_all is None or above_all not in found:
        return names
    return [above_all, *(name for name in names if name != above_all)]


def _ranked(result: CallResult, name: str, places: list[Place], order: Order) -> list[Place]:
    """The rows by a metric's values; those without one come last, equals keep their order."""
    sign = -1 if order == "high" else 1

    def rank(row: Place) -> tuple[bool, float]:
        value = _mean(result, name, row)
        return math.isnan(value), 0.0 if math.isnan(value) else sign * value

    return sorted(places, key=rank)


def _column(canvas: Canvas, result: CallResult, places: list[Place], name: str, *, is_above_all: bool) -> Column:
    """One metric's column; the one above all others is on colours."""
    values = [_mean(result, name, row) for row in places]
    broken = [any(is_broken(result, b, h) for b, h in row) for row in places]
    header = canvas.text(_header(name), "bold" if is_above_all else "dim")
    if is_above_all and name not in _COUNTS:
        scale = Scale.of(values)
        cells = (scale.text(canvas, value, is_bad) for value, is_bad in zip(values, broken, strict=True))
        return Column(header, tuple(cells))
    return Column(header, tuple(_numbers(canvas, values, broken, name in _COUNTS)))


def _header(name: str) -> str:
    return _HEADERS.get(name, name.replace("_", " "))


def _row_columns(canvas: Canvas, result: CallResult, places: list[Place], with_batch: bool) -> list[Column]:
    """The columns that say which row this is, and its label."""
    index = result.inspection.index
    batch = tuple(canvas.text(index.batch[row[0][0]]) for row in places)
    head = tuple(canvas.text(index.heads[row[0][1]]) for row in places)
    labels = [_common([result.inspection.labels[b][h] for b, h in row]) for row in places]
    columns = [Column(canvas.text("head", "dim"), head, repeat=True)]
    if with_batch:
        columns.insert(0, Column(canvas.text("batch", "dim"), batch, repeat=True))
    texts = [canvas.text(text, LABEL_STYLES.get(label, "")) for label, text in labels]
    return [*columns, Column(canvas.text("label", "dim"), tuple(texts), right=False)]


def _common(labels: list[str]) -> tuple[str, str]:
    """The label that most batch items have, and how to say so."""
    label, times = Counter(labels).most_common(1)[0]
    return label, label if times == len(labels) else f"{label} {times}/{len(labels)}"


def _mean(result: CallResult, name: str, row: Place) -> float:
    """The plain mean over the batch items that have a value; a broken head has none."""
    values = [float(result.inspection.metrics[name][b, h]) for b, h in row]
    known = [
        value for value, (b, h) in zip(values, row, strict=True) if math.isfinite(value) or is_broken(result, b, h)
    ]
    return sum(known) / len(known) if known else math.nan


def _numbers(canvas: Canvas, values: list[float], broken: list[bool], is_count: bool) -> Iterable[Text]:
    """One column's numbers, all with as many decimals as the largest bears."""
    largest = max((abs(value) for value in values if math.isfinite(value)), default=0.0)
    for value, is_bad in zip(values, broken, strict=True):
        if math.isfinite(value):
            yield canvas.text(f"{value:g}" if is_count and value.is_integer() else decimal(value, largest))
        elif math.isnan(value) and not is_bad:
            yield canvas.text("–", "dim")
        else:
            yield canvas.text("NaN" if math.isnan(value) else "∞" if value > 0 else "−∞", BAD)


def _legend(canvas: Canvas, names: list[str]) -> Text:
    """The columns' units, those with the same unit together."""
    by_unit: dict[str, list[str]] = {}
    for metric in METRICS:
        if metric.name in names:
            by_unit.setdefault(metric.unit, []).append(_header(metric.name))
    parts = [f"{', '.join(headers)}: {UNITS.get(unit, unit)}" for unit, headers in by_unit.items()]
    parts += [_RELATIVE] if any(name.endswith("_relative") for name in names) else []
    return canvas.join([canvas.text(part, "dim") for part in parts], " · ")
