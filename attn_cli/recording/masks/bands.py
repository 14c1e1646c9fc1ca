"""Keys that move along with the query: causal order and windows as one pair of numbers, and back to words."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from attn_cli.attention.masks import UNLIMITED, aligned_places
from attn_cli.inputs.settings import BOTTOM_RIGHT, TOP_LEFT


@dataclass(frozen=True)
class Band:
    """Query i sees the keys ``i + low ≤ j ≤ i + high``; None is without limit.

    Attributes:
        low: the first key of query 0, which may lie before the first that there is.
        high: its last, likewise.
    """

    low: int | None = None
    high: int | None = None

    @classmethod
    def of(cls, causal: bool, window: tuple[int, int] | None, offset: int) -> Band:
        """The band of causal order and a window around the places ``i + offset``."""
        left, right = window or (UNLIMITED, UNLIMITED)
        low = None if left == UNLIMITED else offset - left
        highs = ([offset] if causal else []) + ([] if right == UNLIMITED else [offset + right])
        return cls(low, min(highs, default=None))

    def __and__(self, other: Band) -> Band:
        """The keys that both leave."""
        lows = [low for low in (self.low, other.low) if low is not None]
        highs = [high for high in (self.high, other.high) if high is not None]
        return Band(max(lows, default=None), min(highs, default=None))

    @property
    def is_empty(self) -> bool:
        """True where no query sees any key."""
        return self.low is not None and self.high is not None and self.low > self.high

    def spans(self, queries: Tensor, num_keys: int) -> tuple[Tensor, Tensor]:
        """The first key of each of these queries and the one behind the last, both from 0 to ``num_keys``."""
        first = queries * 0 if self.low is None else (queries + self.low).clamp(0, num_keys)
        behind = queries * 0 + num_keys if self.high is None else (queries + self.high + 1).clamp(0, num_keys)
        return first, behind.maximum(first)


@dataclass(frozen=True)
class Order:
    """A band in the words of a mask rule.

    Attributes:
        causal, window: as in :class:`~attn_cli.attention.masks.MaskRule`.
        align: ``"bottom-right"``, ``"top-left"`` or N: query i is at place i + N.
    """

    causal: bool = False
    window: tuple[int, int] | None = None
    align: str | int = BOTTOM_RIGHT


def offset_of(align: str | int, num_queries: int, num_keys: int) -> int:
    """The place of query 0."""
    return int(aligned_places(num_queries, num_keys, align)[0])


def in_words(band: Band, num_queries: int, num_keys: int, first_align: str | int = BOTTOM_RIGHT) -> Order:
    """A band that is not empty as causal order or a window, around the usual places where these can say it.

    Args:
        band: which keys each query sees.
        num_queries: Sq.
        num_keys: Sk.
        first_align: to be tried before the other ones.
    """
    low = None if band.low is None or band.low <= 1 - num_queries else band.low
    high = None if band.high is None or band.high >= num_keys - 1 else band.high
    aligns = dict.fromkeys((first_align, BOTTOM_RIGHT, TOP_LEFT))
    offsets = {align: offset_of(align, num_queries, num_keys) for align in aligns}
    for align, offset in offsets.items():
        if high == offset:
            return Order(True, None if low is None else (offset - low, UNLIMITED), align)
    if low is None:
        return Order() if high is None else Order(True, None, high)
    for align, offset in offsets.items():
        if low <= offset and (high is None or high > offset):
            return Order(False, (offset - low, UNLIMITED if high is None else high - offset), align)
    return Order(False, (0, UNLIMITED), low) if high is None else Order(True, (high - low, UNLIMITED), high)
