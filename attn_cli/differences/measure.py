"""Adds up how far two tensors are apart, block by block, for many heads at once."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from attn_cli.differences.tolerance import spacing
from attn_cli.differences.types import Measured, Tolerance, Worst

NOTHING = -math.inf
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
        self._products = torch.zeros(3, heads, dtype=torch.float64, device=device)
        self._counts = torch.zeros(4, heads, dtype=torch.int64, device=device)
        self._first_row = torch.full((heads,), torch.iinfo(torch.int64).max, device=device)

    def add(self, heads: slice, first_row: int, left: Tensor, right: Tensor) -> Tensor:
        """Take in the rows of some heads, ``(h, r, columns)`` each, float32 or float64.

        Returns:
            |left − right|, infinite where the two differ in what is finite: ``(h, r, columns)``.
        """
        shape, first = left.shape, first_row * self._columns
        left, right = left.flatten(1), right.flatten(1)  # (h, n)
        self._counts[0, heads] += left.shape[1]
        gap, size = (left - right).abs_(), right.abs()
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
            self._count(heads, first_row, beyond, odd, odd & (left.isfinite() ^ right.isfinite()))
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
        """Take in what the cosine is made of, in float64."""
        if both is not None:
            left, right = (torch.where(both, x, 0.0) for x in (left, right))
        left, right = left.double(), right.double()
        for place, (one, other) in enumerate(((left, right), (left, left), (right, right))):
            self._products[place, heads] += torch.linalg.vecdot(one, other)

    def _count(self, heads: slice, first_row: int, beyond: Tensor, odd: Tensor, lonely: Tensor) -> None:
        for place, marked in enumerate((beyond, lonely, odd & ~lonely), start=1):
            self._counts[place, heads] += marked.sum(dim=1)
        rows = (beyond | odd).view(len(beyond), -1, self._columns).any(dim=2)  # (h, r)
        found = first_row + rows.to(torch.int8).argmax(dim=1)
        first = torch.where(rows.any(dim=1), found, torch.iinfo(torch.int64).max)
        self._first_row[heads] = torch.minimum(self._first_row[heads], first)

    def result(self) -> list[Measured]:
        """What was measured on each head."""
        return [self._of(slice(head, head + 1)) for head in range(len(self._relative))]

    def total(self) -> Measured:
        """All heads taken together; its places are those of the head that differs most."""
        return self._of(slice(0, len(self._relative)))

    def _of(self, heads: slice) -> Measured:
        values, beyond, lonely, unlike = (int(x) for x in self._counts[:, heads].sum(dim=1))
        dot, of_left, of_right = (float(x) for x in self._products[:, heads].sum(dim=1))
        first_row = int(self._first_row[heads].min())
        length, worst = math.sqrt(of_left) * math.sqrt(of_right), self._worst(heads)
        cosine = 1.0 if worst is None else max(-1.0, min(1.0, dot / length)) if length > 0 else math.nan
        return Measured(
            max_abs_error=_known(self._largest.score[heads]),
            max_rel_error=_known(self._relative[heads]),
            max_ulps=_known(self._ulps[heads]),
            cosine=cosine,
            needed_atol=max(0.0, float(self._needed[heads].max())),
            values=values,
            beyond=beyond,
            finite_in_one=lonely,
            unlike=unlike,
            worst=worst,
            first_row=None if first_row == torch.iinfo(torch.int64).max else first_row,
        )

    def _worst(self, heads: slice) -> Worst | None:
        for extreme, least in ((self._odd, 0.0), (self._beyond, 0.0), (self._largest, 0.0)):
            score = extreme.score[heads]
            head = int(score.argmax())
            if float(score[head]) > least:
                row, column = divmod(int(extreme.place[heads][head]), self._columns)
                return Worst(row, column, float(extreme.left[heads][head]), float(extreme.right[heads][head]))
        return None


def _not(both: Tensor | None, like: Tensor) -> Tensor:
    """Where a value is not finite on both sides; one False where there is none."""
    return torch.zeros((), dtype=torch.bool, device=like.device) if both is None else ~both


def _known(largest: Tensor) -> float:
    """The largest of some heads; NaN where none has any."""
    value = float(largest.max())
    return math.nan if value == NOTHING else value
