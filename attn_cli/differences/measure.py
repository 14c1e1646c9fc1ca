"""Adds up how far two tensors are apart, block by block, for many heads at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from attn_cli.differences.products import Products
from attn_cli.differences.tolerance import spacing
from attn_cli.differences.types import Measured, Tolerance, Worst

NOTHING = -math.inf
NO_ROW = torch.iinfo(torch.int64).max
NEAR = 1 - 1e-4  # where a largest difference is this near to the tolerance, every value is looked at


@dataclass
class _Extreme:
    """The largest score so far of each head, the first of equals, with its place and both values."""

    score: Tensor
    place: Tensor
    left: Tensor
    right: Tensor

    @classmethod
    def empty(cls, heads: int, device: torch.device) -> _Extreme:
        zeros = torch.zeros(heads, dtype=torch.float64, device=device)
        return cls(zeros + NOTHING, torch.zeros(heads, dtype=torch.int64, device=device), zeros.clone(), zeros.clone())

    def add(self, heads: slice, first: int, score: Tensor, left: Tensor, right: Tensor) -> None:
        """Take in ``(h, n)`` scores of values that begin at place ``first`` of their heads."""
        best, place = score.max(dim=1)
        better = best > self.score[heads]
        for goal, x in (
            (self.score, best),
            (self.place, place + first),
            (self.left, left.gather(1, place[:, None])[:, 0]),
            (self.right, right.gather(1, place[:, None])[:, 0]),
        ):
            goal[heads] = torch.where(better, x.to(goal.dtype), goal[heads])


class Tally:
    """Everything that is measured on two tensors ``(heads, rows, columns)``, taken in by blocks of rows.

    Args:
        heads: how many.
        columns: of a row.
        tolerance: what counts as equal.
        dtype: the coarser of the two dtypes, of which a ULP is a spacing.
        device: where blocks are compared.
    """

    def __init__(
        self, heads: int, columns: int, tolerance: Tolerance, dtype: torch.dtype, device: torch.device
    ) -> None:
        self._columns, self._tolerance, self._dtype = columns, tolerance, dtype
        self._largest, self._beyond, self._odd = (_Extreme.empty(heads, device) for _ in range(3))

        def room(value: float = NOTHING) -> Tensor:
            return torch.full((heads,), value, dtype=torch.float64, device=device)

        self._relative, self._ulps, self._needed = room(), room(), room()
        self._products = Products(heads, device)
        self._counts = torch.zeros(5, heads, dtype=torch.int64, device=device)
        self._first_row = torch.full((heads,), NO_ROW, device=device)

    def add(self, heads: slice, first_row: int, left: Tensor, right: Tensor, gap: Tensor | None = None) -> Tensor:
        """Take in the rows of some heads, ``(h, r, columns)`` each, float32 or float64.

        Args:
            heads: which.
            first_row: where the rows begin.
            left: their values.
            right: those of the other side.
            gap: |left − right| where the two hold less than the numbers they stand for; else None.

        Returns:
            |left − right|, infinite where the two differ in what is finite: ``(h, r, columns)``.
        """
        shape, first = left.shape, first_row * self._columns
        left, right = left.flatten(1), right.flatten(1)  # (h, n)
        self._counts[0, heads] += left.shape[1]
        gap, size = (left - right).abs_() if gap is None else gap.flatten(1), right.abs()
        sound = bool(gap.amax().isfinite())  # most blocks are, and need none of what follows
        both = None if sound else left.isfinite() & right.isfinite()
        if both is not None:
            gap = torch.where(both, gap, 0.0)
        allowance = size * self._tolerance.rtol
        needed = (gap - allowance).masked_fill_(_not(both, gap), NOTHING).amax(dim=1)
        self._largest.add(heads, first, gap if both is None else torch.where(both, gap, NOTHING), left, right)
        self._add_maxima(heads, both, gap, size, needed, left)
        self._add_products(heads, both, left, right)
        beyond = odd = None
        if float(needed.amax()) > self._tolerance.atol * NEAR:
            beyond = gap > allowance.add_(self._tolerance.atol)
            self._beyond.add(heads, first, torch.where(beyond, gap, NOTHING), left, right)
        if both is not None:
            odd = ~both & (left != right) & ~(left.isnan() & right.isnan())
            self._odd.add(heads, first, torch.where(odd, 1.0, NOTHING).to(left.dtype), left, right)
            gap.masked_fill_(odd, math.inf)
            beyond = torch.zeros_like(odd) if beyond is None else beyond & both
            lonely = odd & (left.isfinite() ^ right.isfinite())
            self._count(heads, first_row, beyond, odd, lonely)
            self._counts[4, heads] += (~both & ~odd).sum(dim=1)
        elif beyond is not None:
            nothing = torch.zeros_like(beyond)
            self._count(heads, first_row, beyond, nothing, nothing)
        return gap.view(shape)

    def _add_maxima(
        self, heads: slice, both: Tensor | None, gap: Tensor, size: Tensor, needed: Tensor, left: Tensor
    ) -> None:
        """Take in the largest relative error, ULPs and needed tolerance; ``size`` is |right|."""
        hidden = _not(both, gap)
        relative = (gap / size).masked_fill_((size == 0) | hidden, NOTHING).amax(dim=1)
        maxima = [(self._relative, relative), (self._needed, needed)]
        if self._dtype.is_floating_point:
            larger = torch.maximum(left.abs(), size)
            larger = larger if both is None else torch.where(both, larger, 0.0)
            ulps = (gap / spacing(larger, self._dtype)).masked_fill_(hidden, NOTHING)
            maxima.append((self._ulps, ulps.amax(dim=1)))
        for goal, x in maxima:
            goal[heads] = torch.maximum(goal[heads], x.to(goal.dtype))

    def _add_products(self, heads: slice, both: Tensor | None, left: Tensor, right: Tensor) -> None:
        """Take in what the cosine is made of."""
        if both is not None:
            left, right = (torch.where(both, x, 0.0) for x in (left, right))
        self._products.add(heads, left, right)

    def _count(self, heads: slice, first_row: int, beyond: Tensor, odd: Tensor, lonely: Tensor) -> None:
        for place, marked in enumerate((beyond, lonely, odd & ~lonely), start=1):
            self._counts[place, heads] += marked.sum(dim=1)
        rows = (beyond | odd).view(len(beyond), -1, self._columns).any(dim=2)  # (h, r)
        found = first_row + rows.to(torch.int8).argmax(dim=1)
        first = torch.where(rows.any(dim=1), found, NO_ROW)
        self._first_row[heads] = torch.minimum(self._first_row[heads], first)

    def result(self) -> tuple[list[Measured], Measured]:
        """What was measured on each head, and on all taken together; its places are those of the worst head."""
        heads = self._heads()
        each = [head.measured(cosine) for head, cosine in zip(heads, self._products.cosines(), strict=True)]
        total = each[0] if len(each) == 1 else joined(heads).measured(self._products.cosine())
        return each, total

    def _heads(self) -> list[_Head]:
        """Everything as plain numbers, read from the device once."""
        extremes = (self._odd, self._beyond, self._largest)
        floats = torch.stack([self._relative, self._ulps, self._needed])
        values = torch.stack([x for one in extremes for x in (one.score, one.left, one.right)])
        columns = self._columns
        found = zip(
            self._counts.T.tolist(),
            floats.T.tolist(),
            values.T.tolist(),
            torch.stack([one.place for one in extremes]).T.tolist(),
            self._first_row.tolist(),
            strict=True,
        )
        return [
            _Head(counts, maxima, [(*some[3 * n : 3 * n + 3], place) for n, place in enumerate(places)], first, columns)
            for counts, maxima, some, places, first in found
        ]


@dataclass(frozen=True)
class _Head:
    """What was found in one head, or in several, in plain numbers.

    Attributes:
        counts: values, beyond, finite in one, unlike, not finite in both.
        maxima: relative error, ULPs, needed tolerance.
        extremes: score, left, right and place of the first odd value, of the largest beyond, of the largest.
        first_row: that does not pass.
        columns: of a row.
    """

    counts: Sequence[int]
    maxima: Sequence[float]
    extremes: Sequence[tuple[float, float, float, int]]
    first_row: int
    columns: int

    def measured(self, cosine: float) -> Measured:
        """The same as a record."""
        worst = self._worst()
        values, beyond, lonely, unlike, alike = self.counts
        return Measured(
            max_abs_error=_known(self.extremes[2][0]),
            max_rel_error=_known(self.maxima[0]),
            max_ulps=_known(self.maxima[1]),
            cosine=1.0 if worst is None else cosine,
            needed_atol=max(0.0, self.maxima[2]),
            values=values,
            beyond=beyond,
            finite_in_one=lonely,
            unlike=unlike,
            worst=worst,
            first_row=None if self.first_row == NO_ROW else self.first_row,
            nonfinite_both=alike,
        )

    def _worst(self) -> Worst | None:
        for score, left, right, place in self.extremes:
            if score > 0:
                return Worst(*divmod(place, self.columns), left, right)
        return None


def joined(heads: Sequence[_Head]) -> _Head:
    """Several heads as one."""
    return _Head(
        [sum(column) for column in zip(*(head.counts for head in heads), strict=True)],
        [max(column) for column in zip(*(head.maxima for head in heads), strict=True)],
        [max(column, key=lambda one: one[0]) for column in zip(*(head.extremes for head in heads), strict=True)],
        min(head.first_row for head in heads),
        heads[0].columns,
    )


def _not(both: Tensor | None, like: Tensor) -> Tensor:
    """Where a value is not finite on both sides; one False where there is none."""
    return torch.zeros((), dtype=torch.bool, device=like.device) if both is None else ~both


def _known(largest: float) -> float:
    """The largest of some values; NaN where there is none."""
    return math.nan if largest == NOTHING else largest
