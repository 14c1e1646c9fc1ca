"""How differently two sides attend: the Jensen–Shannon divergence of their rows."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from attn_cli.differences.types import Divergence

SMALL = 0.25
# ((1+d)·ln(1+d) + (1−d)·ln(1−d))/2 = Σ d²ᵏ/(2k·(2k−1)); up to d = 0.25 these six give all digits of a float32.
SERIES = tuple(1 / (2 * k * (2 * k - 1)) for k in range(1, 7))


def row_divergence(left: Tensor, right: Tensor, rounding: float = 0.0) -> Tensor:
    """The Jensen–Shannon divergence of each row, in nats (Lin 1991).

    With m = (p + q)/2 and d = (p − q)/(p + q) a cell adds m·((1+d)·ln(1+d) + (1−d)·ln(1−d))/2, which is never negative
    and keeps its digits where both sides are nearly equal. What a row lacks to 1, the weight of a learned sink, is one
    more outcome.

    Args:
        left: weights, ``(heads, rows, keys)``.
        right: the other side's, in the same shape.
        rounding: what a row may lack to 1 because its weights are rounded; no sink is seen in that.

    Returns:
        ``(heads, rows)`` float64; NaN where a row of either side holds a value that is no weight, or both are empty.
    """
    sums = [x.sum(dim=-1, dtype=torch.float64) for x in (left, right)]  # (h, r)
    rest = [torch.where(1 - x > rounding, 1 - x, 0.0) for x in sums]
    divergence = _terms(left, right).sum(dim=-1, dtype=torch.float64) + _terms(*rest)
    are_weights = [(x.amin(dim=-1) >= 0) & of_row.isfinite() for x, of_row in zip((left, right), sums, strict=True)]
    is_empty = (sums[0] == 0) & (sums[1] == 0)
    counts = are_weights[0] & are_weights[1] & ~is_empty
    return torch.where(counts, divergence.clamp(max=math.log(2)), math.nan)


def _terms(p: Tensor, q: Tensor) -> Tensor:
    total = p + q
    d = (p - q).div_(total).masked_fill_(total == 0, 0.0)
    if d.dtype == torch.float32 and float(d.abs().amax()) <= SMALL:  # a NaN is not
        square = d.square_()
        series = torch.full_like(square, SERIES[-1])
        for factor in SERIES[-2::-1]:
            series.mul_(square).add_(factor)
        return series.mul_(square).mul_(total).div_(2)
    terms: Tensor = total * (torch.special.xlog1py(1 + d, d) + torch.special.xlog1py(1 - d, -d)) / 4
    return terms


class DivergenceTally:
    """Adds up the divergence of each head's rows.

    Args:
        heads: how many.
        device: where blocks are compared.
        rounding: what a row may lack to 1 because its weights are rounded.
    """

    def __init__(self, heads: int, device: torch.device, rounding: float) -> None:
        self._rounding = rounding
        self._sum = torch.zeros(heads, dtype=torch.float64, device=device)
        self._rows = torch.zeros(heads, dtype=torch.int64, device=device)
        self._largest = torch.full_like(self._sum, -1.0)
        self._place = torch.zeros_like(self._rows)

    def add(self, heads: slice, first_row: int, left: Tensor, right: Tensor) -> None:
        """Take in the rows of some heads, ``(h, r, keys)``."""
        of_rows = row_divergence(left, right, self._rounding)
        known = ~of_rows.isnan()
        self._sum[heads] += torch.where(known, of_rows, 0.0).sum(dim=1)
        self._rows[heads] += known.sum(dim=1)
        largest, place = torch.where(known, of_rows, -1.0).max(dim=1)
        better = largest > self._largest[heads]
        self._largest[heads] = torch.where(better, largest, self._largest[heads])
        self._place[heads] = torch.where(better, place + first_row, self._place[heads])

    def result(self) -> list[Divergence]:
        """What was found in each head."""
        columns = zip(*(x.tolist() for x in (self._sum, self._rows, self._largest, self._place)), strict=True)
        return [
            Divergence(total / rows, largest, row) if rows else Divergence(math.nan, math.nan, None)
            for total, rows, largest, row in columns
        ]
