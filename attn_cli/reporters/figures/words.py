"""What is said of a call and of its heads in figures."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from attn_cli.inspection.metrics import METRICS
from attn_cli.reporters.figures.look import Look
from attn_cli.reporters.html.texts import file_name
from attn_cli.reporters.terminal.figures import decimal
from attn_cli.reporters.terminal.header import backend_names
from attn_cli.reporters.terminal.text import ranges
from attn_cli.results import CallResult

# The metric that tells most of a head with this label.
_KEY_METRICS = {
    "broken": "nonfinite",
    "inactive": "output_norm_relative",
    "previous-token": "previous_score",
    "next-token": "next_score",
    "self": "self_score",
    "sink": "sink_score",
    "local": "attention_distance",
    "broad": "entropy_normalized",
    "focused": "confidence",
}
_USUAL = "entropy"
_COUNTS = {metric.name for metric in METRICS if metric.unit == "rows"}
_ZEROS = re.compile(r"\.0+(?= |$)")


def key_metric(call: CallResult, batch: int, head: int, asked: str | None) -> tuple[str, str]:
    """``("entropy", "1.23")``: the metric that was asked for, else the one that the head's label goes by."""
    metrics = call.inspection.metrics
    name = asked or _KEY_METRICS.get(call.inspection.labels[batch][head], _USUAL)
    if asked is None and name not in metrics:
        name = _USUAL
    value = float(metrics[name][batch, head]) if name in metrics else math.nan
    return name, f"{value:.0f}" if name in _COUNTS and math.isfinite(value) else number(value)


def trimmed(text: str) -> str:
    """``10.0 ms`` as ``10 ms``: the ticks of an axis are round."""
    return _ZEROS.sub("", text).strip()


def number(value: float) -> str:
    """A metric's value in a few characters; a dash where there is none."""
    if not math.isfinite(value):
        return "–" if math.isnan(value) else "∞" if value > 0 else "−∞"
    return f"{value:.0f}" if value.is_integer() and abs(value) >= 10 else decimal(value, abs(value))


def call_parts(look: Look, call: CallResult) -> Iterator[str]:
    """What a caption says of a call: where it is from, which part is shown, the shape of its weights, what ran."""
    text, record, index = look.letters.text, call.call, call.inspection.index
    yield text(file_name(record.source))
    if record.layer is not None:
        yield f"layer {record.layer}"
    elif record.prefix:
        yield text(record.prefix)
    axes = (
        ("batch", index.batch, index.total_batch),
        ("head", index.heads, index.total_heads),
        ("query", tuple(index.queries.tolist()), index.total_queries),
    )
    for name, numbers, total in axes:
        if len(numbers) < total:
            yield f"{name} {ranges(numbers)} of {total}"
    shape = (len(index.batch), len(index.heads), len(index.queries), call.num_keys)
    yield f"weights (B, Hq, Sq, Sk) = ({', '.join(map(str, shape))})"
    yield ", ".join(text(name) for name in backend_names(call)[:3])


def picture_parts(call: CallResult, batches: range, heads: range) -> Iterator[str]:
    """What a caption says of the pictures: the window they show, what a cell stands for, what is left out."""
    pictures, batch, every = call.inspection.pictures, call.inspection.index.batch, call.inspection.index.heads
    zoom = pictures.zoom
    if zoom is not None:
        queries = f"queries {zoom.first_query} to {(zoom.query_stop or 0) - 1}"
        yield f"{queries}, keys {zoom.first_key} to {(zoom.key_stop or 0) - 1}"
    cells = pictures.query_pool * pictures.key_pool
    if cells > 1:
        yield f"max-pooled: each cell is the largest of {pictures.query_pool} × {pictures.key_pool} weights"
    if len(batches) < len(batch):
        yield f"pictures of batch {ranges(batch[: len(batches)])} alone"
    if len(heads) < len(every):
        yield f"pictures of head {ranges(every[: len(heads)])} alone"
