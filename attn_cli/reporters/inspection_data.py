"""What every document tells of what an inspection found, whatever call it is of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from attn_cli.inspection.metrics import METRICS
from attn_cli.inspection.types import Inspection, Verification

Entry = dict[str, Any]
_COUNTS = {metric.name for metric in METRICS if metric.unit == "rows"}


def head_entries(inspection: Inspection) -> Iterator[Entry]:
    """A head of a batch item each: its place, its label, every metric, and its strongest pairs."""
    metrics = {metric.name: inspection.metrics.get(metric.name) for metric in METRICS}
    values = {name: None if table is None else table.tolist() for name, table in metrics.items()}
    top = [x.tolist() for x in (inspection.top.query, inspection.top.key, inspection.top.weight)]
    for b, batch in enumerate(inspection.index.batch):
        for h, head in enumerate(inspection.index.heads):
            numbers = {name: None if table is None else _whole(name, table[b][h]) for name, table in values.items()}
            pairs = zip(*(x[b][h] for x in top), strict=True)
            strongest = [_pair(query, key, weight) for query, key, weight in pairs if query >= 0 and key >= 0]
            yield {"batch": batch, "head": head, "label": inspection.labels[b][h]} | numbers | {"top": strongest}


def verification_entry(verification: Verification) -> Entry:
    """The weights shown against an output that was computed elsewhere."""
    return {
        "max_abs_error": verification.max_abs_error,
        "against": verification.against,
        "disagreements": verification.disagreements,
        "tolerance": verification.tolerance,
        "batch": verification.place.batch,
        "head": verification.place.head,
        "query": verification.place.query,
    }


def _pair(query: int, key: int, weight: float) -> Entry:
    return {"query": query, "key": key, "weight": weight}


def _whole(name: str, value: float) -> float | int:
    """A count is a whole number."""
    return int(value) if name in _COUNTS and value.is_integer() else value
