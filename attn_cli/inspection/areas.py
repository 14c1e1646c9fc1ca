"""Rectangles of a call: some batch items, heads and query rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from torch import Tensor


@dataclass(frozen=True)
class Area:
    """Some query rows of some batch items and heads: whole groups of query heads, all keys.

    Attributes:
        batch: batch items.
        kv_heads: key/value heads.
        rows: query rows.
        groups: query heads of one key/value head.
    """

    batch: slice
    kv_heads: slice
    rows: slice
    groups: int

    @property
    def heads(self) -> slice:
        """The query heads that read these key/value heads."""
        return slice(self.kv_heads.start * self.groups, self.kv_heads.stop * self.groups)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Batch items, query heads, query rows."""
        heads = (self.kv_heads.stop - self.kv_heads.start) * self.groups
        return self.batch.stop - self.batch.start, heads, self.rows.stop - self.rows.start

    @property
    def place(self) -> tuple[slice, slice, slice]:
        """Where the area lies in a tensor ``(B, Hq, Sq, …)``."""
        return self.batch, self.heads, self.rows

    def of(self, x: Tensor) -> Tensor:
        """The area's part of a tensor that broadcasts to ``(B, Hq, Sq, …)``."""
        return picked(x, self.place)

    def split(self, rows: int) -> Iterator[Area]:
        """The area in blocks of ``rows`` query rows."""
        for rows_of_block in ranges(self.rows, rows):
            yield replace(self, rows=rows_of_block)


def picked(x: Tensor, place: tuple[slice, ...]) -> Tensor:
    """A part of a tensor whose axes of size 1 broadcast."""
    return x[tuple(slice(None) if size == 1 else pick for size, pick in zip(x.shape, place, strict=False))]


def ranges(whole: slice, size: int) -> Iterator[slice]:
    """Cut ``whole`` into pieces of ``size``; the last may be shorter."""
    for first in range(whole.start, whole.stop, size):
        yield slice(first, min(first + size, whole.stop))
