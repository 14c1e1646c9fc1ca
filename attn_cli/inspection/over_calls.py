"""What the heads of one module did over all its calls: plain means, and the label that most calls give."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from attn_cli.inspection.types import Inspection

BROKEN, UNDECIDED = "broken", ("broken", "mixed")


@dataclass(frozen=True)
class HeadSummary:
    """One head of a module over the batch items of all its calls.

    Attributes:
        head: its number in the whole call.
        label: ``"broken"`` where any item is, else the label that most items have, the first of equals.
        counts: how many items have which label.
        values: by metric name, the plain mean over the items that have a value; NaN where none has, or one is broken.
        changes: the share of all items whose label is another than the one that the same batch item has in most calls;
            ``mixed`` and ``broken`` are none, for they say nothing of what the head does.
        first_broken: the call's number and the batch item where it is first broken, or None.
    """

    head: int
    label: str
    counts: Mapping[str, int]
    values: Mapping[str, float]
    changes: float
    first_broken: tuple[int, int] | None

    @property
    def is_unanimous(self) -> bool:
        """Whether every item has the same label."""
        return len(self.counts) == 1


def summarize(inspections: Sequence[Inspection]) -> tuple[HeadSummary, ...]:
    """A summary of every head that any of the inspections has, by its number.

    Args:
        inspections: of the calls of one module, in the order of their steps.
    """
    numbers = sorted({head for one in inspections for head in one.index.heads})
    means = _means(inspections, numbers)
    return tuple(_summary(inspections, number, means[number]) for number in numbers)


def _summary(inspections: Sequence[Inspection], head: int, values: Mapping[str, float]) -> HeadSummary:
    seen = list(_labels_of(inspections, head))
    counts = Counter(label for _, _, label in seen)
    broken = [(call, item) for call, item, label in seen if label == BROKEN]
    label = BROKEN if broken else counts.most_common(1)[0][0]
    return HeadSummary(head, label, dict(counts), values, _changes(seen), broken[0] if broken else None)


def _labels_of(inspections: Sequence[Inspection], head: int) -> list[tuple[int, int, str]]:
    """The call's number, the batch item and the label, wherever the head is."""
    found = []
    for number, one in enumerate(inspections):
        if head in one.index.heads:
            place = one.index.heads.index(head)
            rows = zip(one.index.batch, one.labels, strict=True)
            found += [(number, item, labels[place]) for item, labels in rows]
    return found


def _changes(seen: Sequence[tuple[int, int, str]]) -> float:
    of_item: dict[int, Counter[str]] = {}
    for _, item, label in seen:
        if label not in UNDECIDED:
            of_item.setdefault(item, Counter())[label] += 1
    decided = sum(counts.total() for counts in of_item.values())
    usual = sum(max(counts.values()) for counts in of_item.values())
    return (decided - usual) / len(seen)


def _means(inspections: Sequence[Inspection], numbers: Sequence[int]) -> dict[int, dict[str, float]]:
    """By head and metric; a metric that no call has is left out."""
    names = dict.fromkeys(name for one in inspections for name in one.metrics)
    broken = _stacked(inspections, "nonfinite", numbers) > 0  # (items, heads)
    means = {}
    for name in names:
        values = _stacked(inspections, name, numbers)
        known = values.isfinite() | broken
        total = values.where(known, 0.0).sum(dim=0)
        means[name] = (total / known.sum(dim=0)).tolist()  # 0 / 0 is NaN: nothing is known
    return {number: {name: means[name][place] for name in names} for place, number in enumerate(numbers)}


def _stacked(inspections: Sequence[Inspection], name: str, numbers: Sequence[int]) -> Tensor:
    """A metric of every batch item of every call, ``(items, heads)``; NaN where a call lacks the metric or the head."""
    place = {number: column for column, number in enumerate(numbers)}
    tables = []
    for one in inspections:
        table = torch.full((len(one.index.batch), len(numbers)), torch.nan, dtype=torch.float64)
        if name in one.metrics:
            table[:, [place[head] for head in one.index.heads]] = one.metrics[name]
        tables.append(table)
    return torch.cat(tables)
