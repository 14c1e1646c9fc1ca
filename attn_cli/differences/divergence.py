"""How differently two sides attend: the Jensen–Shannon divergence of their rows."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from attn_cli.differences.types import Divergence

SMALL = 0.25
# ((1+d)·ln(1+d) + (1−d)·ln(1−d))/2 = Σ d²ᵏ/(2k·(2k−1)); up to d = 0.25 these six give all digits of a float32.
SERIES = tuple(1 / (2 * k * (2 * k - 1)) for k in range(1, 7))


def row_divergence(left: Tensor, right: Tensor, rounding: float = 0.0, has_sink: bool = False) -> Tensor:
    """The Jensen–Shannon divergence of each row, in nats (Lin 1991).

    With m = (p + q)/2 and d = (p − q)/(p + q) a cell adds m·((1+d)·ln(1+d) + (1−d)·ln(1−d))/2, which is never negative
    and keeps its digits where both sides are nearly equal.

    Args:
        left: weights, ``(heads, rows, keys)``.
        right: the other side's, in the same shape.
        rounding: what a row may lack to 1 because its weights are rounded; no sink is seen in that.
        has_sink: True where what a row lacks to 1 is one more outcome, the weight of a learned sink; else rows are made
            to add up to 1. A row without any weight is an outcome of its own.

    Returns:
        ``(heads, rows)`` float64; NaN where a row of either side holds a value that is no weight, or both are empty.
    """
    sums = [x.sum(dim=-1, dtype=torch.float64) for x in (left, right)]  # (h, r)
    if has_sink:
        rest = [torch.where(1 - of_row > rounding, 1 - of_row, 0.0) for of_row in sums]
        divergence = _terms(left + right, left - right).sum(dim=-1, dtype=torch.float64)
    else:
        rest = [(of_row == 0).double() for of_row in sums]
        divergence = _of_distributions(left, right, *sums)
    divergence = divergence + _terms(rest[0] + rest[1], rest[0] - rest[1])
    are_weights = [(x.amin(dim=-1) >= 0) & of_row.isfinite() for x, of_row in zip((left, right), sums, strict=True)]
    is_empty = (sums[0] == 0) & (sums[1] == 0)
    counts = are_weights[0] & are_weights[1] & ~is_empty
    return torch.where(counts, divergence.clamp(max=math.log(2)), math.nan)


def _of_distributions(left: Tensor, right: Tensor, of_left: Tensor, of_right: Tensor) -> Tensor:
    """The divergence of rows that are made to add up to 1, ``(h, r)``; a row without weight stays as it is.

    Dividing each side by its sum would round away what little two float32 differ in. So left is kept as it is, right
    brought to its sum by ``right − right·excess``, and the result divided.
    """
    has_both = (of_left > 0) & (of_right > 0)
    excess = torch.where(has_both, (of_right - of_left) / of_right, 0.0)[..., None].to(left.dtype)
    change = right * excess
    divergence = _terms(left + right - change, (left - right).add_(change)).sum(dim=-1, dtype=torch.float64)
    size = torch.where(of_left > 0, of_left, of_right)
    return divergence / torch.where(size > 0, size, 1.0)


def _terms(total: Tensor, difference: Tensor) -> Tensor:
    """What each cell adds, out of p + q and p − q, which is lost.

    A series where both sides are nearly equal and float32 would lose its digits, cell by cell, so that no other cell
    has a say in it.
    """
    d = difference.div_(total).masked_fill_(total == 0, 0.0)
    if d.dtype != torch.float32:
        return _by_logarithms(total, d)
    square = d.square()
    series = torch.full_like(square, SERIES[-1])
    for factor in SERIES[-2::-1]:
        series.mul_(square).add_(factor)
    series.mul_(square).mul_(total).div_(2)
    if float(square.amax()) <= SMALL**2:  # a NaN is not
        return series
    return torch.where(square <= SMALL**2, series, _by_logarithms(total, d))


def _by_logarithms(total: Tensor, d: Tensor) -> Tensor:
    d = d.clamp(-1, 1)  # where rounding took it out of there
    terms: Tensor = total * (torch.special.xlog1py(1 + d, d) + torch.special.xlog1py(1 - d, -d)) / 4
    return terms


class DivergenceTally:
    """Adds up the divergence of each head's rows.

    Args:
        heads: how many.
        device: where blocks are compared.
        rounding: what a row may lack to 1 because its weights are rounded.
        has_sink: whether what a row lacks beyond that is the weight of a sink.
    """

    def __init__(self, heads: int, device: torch.device, rounding: float, has_sink: bool) -> None:
        self._rounding, self._has_sink = rounding, has_sink
        self._sum = torch.zeros(heads, dtype=torch.float64, device=device)
        self._rows = torch.zeros(heads, dtype=torch.int64, device=device)
        self._largest = torch.full_like(self._sum, -1.0)
        self._place = torch.zeros_like(self._rows)

    def add(self, heads: slice, first_row: int, left: Tensor, right: Tensor) -> None:
        """Take in the rows of some heads, ``(h, r, keys)``."""
        of_rows = row_divergence(left, right, self._rounding, self._has_sink)
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
