"""What is carried from one part of the call to the next."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from attn_cli.inspection.areas import Area
from attn_cli.inspection.call import Call
from attn_cli.inspection.metrics import Metric
from attn_cli.inspection.rows import Rows


class MetricTotals:
    """One metric's float64 totals over the parts."""

    def __init__(self, metric: Metric, call: Call) -> None:
        self.metric = metric
        shape, start = call.inputs.weights_shape[:2], -math.inf if metric.reduction == "max" else 0.0
        self._home = call.home
        self._total = torch.full(shape, start, dtype=torch.float64, device=self._home)  # (B, Hq)
        self._base = torch.zeros(shape, dtype=torch.float64, device=self._home)  # (B, Hq)

    def add(self, rows: Rows) -> None:
        """Take in a part's rows."""
        values, base = (x.to(self._home) for x in self.metric.rows(rows))
        values = values.expand(rows.part.shape)  # (b, h, r); base broadcasts to it
        counts = base != 0
        if not bool(counts.all()):
            values = values.where(counts, self._left_out)
        place = rows.part.place[:2]
        if self.metric.reduction == "max":
            self._total[place] = torch.maximum(self._total[place], values.amax(dim=-1).to(torch.float64))
        else:
            self._total[place] += values.sum(dim=-1, dtype=torch.float64)
        self._base[place] += base.expand(*base.shape[:2], values.shape[2]).sum(dim=-1, dtype=torch.float64)

    @property
    def _left_out(self) -> float:
        return -math.inf if self.metric.reduction == "max" else 0.0

    def result(self) -> Tensor:
        """``(B, Hq)`` float64 on the CPU; NaN where no row counts or where the number is not finite."""
        total = self._total / self._base if self.metric.reduction == "mean" else self._total
        total = self.metric.finish(total).cpu()
        return torch.where(total.isfinite(), total, torch.nan)


@dataclass(frozen=True)
class MarkedRows:
    """Query rows that were marked.

    Attributes:
        count: how many, by batch item and head.
        first: the first of them in the selection, by batch item and head; only where ``count`` is not 0.
    """

    count: Tensor
    first: Tensor

    @classmethod
    def of(cls, marked: Tensor) -> MarkedRows:
        """Count the marks of ``(B or 1, Hq or 1, Sq)`` bool."""
        marked = marked.to("cpu")
        return cls(marked.sum(dim=-1), marked.to(torch.int8).argmax(dim=-1))

    @property
    def total(self) -> int:
        """How many there are over all batch items and heads."""
        return int(self.count.sum())

    def first_place(self) -> tuple[int, int, int]:
        """Batch item, head and row of the first, in the selection's own numbers."""
        batch, head = (int(number) for number in self.count.nonzero()[0])
        return batch, head, int(self.first[batch, head])


class RowMarks:
    """Counts marked query rows and keeps the first, over parts whose rows come in ascending order."""

    def __init__(self, call: Call) -> None:
        shape = call.inputs.weights_shape[:2]
        self._found = MarkedRows(torch.zeros(shape, dtype=torch.int64), torch.zeros(shape, dtype=torch.int64))

    def add(self, marked: Tensor, part: Area) -> None:
        """Take in a part's marks, bool, ``(b, h, r)``."""
        place, new = part.place[:2], MarkedRows.of(marked)
        before = self._found.count[place]
        self._found.first[place] = torch.where(before > 0, self._found.first[place], new.first + part.rows.start)
        self._found.count[place] = before + new.count

    def result(self) -> MarkedRows:
        """All that was marked."""
        return self._found
