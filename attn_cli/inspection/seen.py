"""Which keys a query row sees: counted, summed and asked for by tile, never as a whole."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from attn_cli.attention.masks import MaskRule
from attn_cli.attention.types import AttentionInputs
from attn_cli.inspection.areas import Area

CELLS_AT_ONCE = 2**21


@dataclass(frozen=True)
class Pairs:
    """Some query → key pairs of every head; the tensors broadcast to each other.

    Attributes:
        items: ``(B, 1, 1, 1)``.
        heads: ``(1, Hq, 1, 1)``.
        rows: ``(B, Hq, n, 1)``.
        keys: ``(B, Hq, n, pool)``.
    """

    items: Tensor
    heads: Tensor
    rows: Tensor
    keys: Tensor

    @classmethod
    def of(cls, rows: Tensor, keys: Tensor) -> Pairs:
        """The same number of pairs for every head."""
        items, heads = (torch.arange(size, device=rows.device) for size in rows.shape[:2])
        return cls(items[:, None, None, None], heads[:, None, None], rows, keys)

    def of_tensor(self, x: Tensor) -> Tensor:
        """Their entries in a tensor that broadcasts to ``(B, Hq, Sq, Sk)``."""
        places = zip(x.shape, (self.items, self.heads, self.rows, self.keys), strict=True)
        return x[tuple(torch.zeros_like(place) if size == 1 else place for size, place in places)]


@dataclass(frozen=True)
class Seen:
    """The mask of a call together with the keys that a bias of −∞ hides.

    Attributes:
        mask: causal order, window, valid lengths and keep mask.
        bias: broadcasts to ``(B, Hq, Sq, Sk)``; None where it hides nothing.
    """

    mask: MaskRule
    bias: Tensor | None

    @classmethod
    def of(cls, inputs: AttentionInputs) -> Seen:
        """What the rows of ``inputs`` see."""
        bias = inputs.rules.bias
        hides = bias is not None and bool((bias == -torch.inf).any())
        return cls(inputs.rules.mask, bias if hides else None)

    @cached_property
    def hides_anything(self) -> bool:
        """True where at least one key is hidden from one row."""
        return self.bias is not None or self.mask.hides_anything

    @property
    def by_interval(self) -> bool:
        """True where every row sees one interval of keys."""
        return self.mask.keep is None and self.bias is None

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(B or 1, Hq or 1, Sq)``: how far rows may differ in what they see."""
        batch, heads = 1 if self.mask.valid_lens is None else len(self.mask.valid_lens), 1
        for x in (self.mask.keep, self.bias):
            if x is not None:
                batch, heads = max(batch, x.shape[0]), max(heads, x.shape[1])
        return batch, heads, len(self.mask.places)

    def tile(self, rows: slice) -> Tensor:
        """The keys that these rows see: bool, ``(B or 1, Hq or 1, rows, Sk)``."""
        keep = self.mask.tile(rows)
        if keep is None:
            keep = torch.ones(1, 1, 1, self.mask.num_keys, dtype=torch.bool, device=self.mask.places.device)
        if self.bias is not None:
            keep = keep & ((self.bias if self.bias.shape[2] == 1 else self.bias[:, :, rows]) != -torch.inf)
        return keep.expand(*self.shape[:2], len(self.mask.places[rows]), self.mask.num_keys)

    def mask_tile(self, block: Area, keys: slice) -> Tensor:
        """The mask alone for a tile: bool, broadcasts to ``(b, h, r, keys)``."""
        first, behind = self.mask.interval(block.rows)
        if first.shape[0] > 1:
            first, behind = first[block.batch], behind[block.batch]
        numbers = torch.arange(keys.start, keys.stop, device=first.device)
        keep = (numbers >= first[..., None]) & (numbers < behind[..., None])  # (b or 1, 1, r, t)
        if self.mask.keep is None:
            return keep
        kept = block.of(self.mask.keep)
        return keep & (kept if kept.shape[3] == 1 else kept[..., keys])

    def at(self, keys: Tensor, rows: slice) -> Tensor:
        """True where some keys of each row, ``(rows, n)``, exist and are visible, ``(B or 1, Hq or 1, rows, n)``."""
        first, behind = (x[..., rows, None] for x in self.intervals)
        seen = (keys >= first) & (keys < behind)  # (B or 1, 1, r, n); an interval lies in the call
        inside = keys.clamp(0, self.mask.num_keys - 1)
        if self.mask.keep is not None:
            seen = seen & gather_key(self.mask.keep, inside, rows)
        if self.bias is not None:
            seen = seen & (gather_key(self.bias, inside, rows) != -torch.inf)
        return seen

    @cached_property
    def intervals(self) -> tuple[Tensor, Tensor]:
        """First visible key of every row and the one behind the last, before ``keep``: ``(B or 1, 1, Sq)`` each."""
        return self.mask.interval()

    def pairs(self, pairs: Pairs) -> Tensor:
        """True where a pair is visible, ``(B, Hq, n, pool)``."""
        first, behind = (pairs.of_tensor(x[..., None]) for x in self.intervals)
        seen = (pairs.keys >= first) & (pairs.keys < behind)
        if self.mask.keep is not None:
            seen = seen & pairs.of_tensor(self.mask.keep)
        if self.bias is not None:
            seen = seen & (pairs.of_tensor(self.bias) != -torch.inf)
        return seen

    @cached_property
    def counts(self) -> Tensor:
        """How many keys each row sees: ``(B or 1, Hq or 1, Sq)`` int64."""
        return self._counts_and_distances[0]

    @cached_property
    def distances(self) -> Tensor:
        """Σ abs(pᵢ − j) over the keys j that row i sees: ``(B or 1, Hq or 1, Sq)`` int64."""
        return self._counts_and_distances[1]

    @cached_property
    def _counts_and_distances(self) -> tuple[Tensor, Tensor]:
        if self.by_interval:
            first, behind = self.intervals
            return behind - first, _distance_sum(self.mask.places, first, behind)
        counts = torch.empty(self.shape, dtype=torch.int64, device=self.mask.places.device)
        distances = torch.empty_like(counts)
        keys = torch.arange(self.mask.num_keys, device=counts.device)
        for rows in self.row_blocks():
            tile = self.tile(rows)
            counts[:, :, rows] = tile.sum(dim=-1)
            apart = (self.mask.places[rows, None] - keys).abs()  # (r, Sk)
            distances[:, :, rows] = torch.where(tile, apart, 0).sum(dim=-1)
        return counts, distances

    def row_blocks(self) -> list[slice]:
        """All rows, in blocks whose keys fit the work space."""
        batch, heads, queries = self.shape
        rows = max(1, CELLS_AT_ONCE // (batch * heads * self.mask.num_keys))
        return [slice(first, min(first + rows, queries)) for first in range(0, queries, rows)]

    def to(self, device: torch.device) -> Seen:
        """The same on ``device``."""
        return replace(self, mask=self.mask.to(device), bias=None if self.bias is None else self.bias.to(device))


def gather_key(x: Tensor, keys: Tensor, rows: slice) -> Tensor:
    """Some keys ``(rows, n)`` of each row: from ``(B or 1, Hq or 1, Sq or 1, Sk or 1)`` to ``(…, …, rows, n)``."""
    x = x if x.shape[2] == 1 else x[:, :, rows]
    x = x.expand(*x.shape[:2], len(keys), x.shape[3])
    return x if x.shape[3] == 1 else x.gather(-1, keys.expand(*x.shape[:2], -1, -1))


def _distance_sum(places: Tensor, first: Tensor, behind: Tensor) -> Tensor:
    """Σ abs(p − j) for first ≤ j < behind, in whole numbers."""
    left = torch.minimum(places, behind) - torch.minimum(places, first)  # keys before the place
    nearest = places - torch.minimum(places, behind) + 1
    right = torch.maximum(places, behind - 1) - torch.maximum(places, first - 1)  # keys behind the place
    start = torch.maximum(places + 1, first) - places
    return left * nearest + left * (left - 1) // 2 + right * start + right * (right - 1) // 2
