"""Cells that are visible or hidden, counted row by row in bounded memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from attn_cli.attention.blocks import row_blocks

CELLS_AT_ONCE = 2**20  # small blocks are handed out again by the allocator, large ones pile up

Tile = Callable[[slice], Tensor]


@dataclass(frozen=True)
class Visible:
    """What each row of a mask leaves visible, on the CPU. Axes on which nothing depends have size 1.

    Attributes:
        count: ``(B or 1, Hq or 1, Sq or 1)`` int64, visible keys of each row.
        first: its first visible key; Sk where there is none.
        behind: the one behind its last visible key; 0 where there is none.
        keys: bool, ``(B or 1, Hq or 1, Sk)``: True where at least one row sees the key.
    """

    count: Tensor
    first: Tensor
    behind: Tensor
    keys: Tensor

    @property
    def num_keys(self) -> int:
        """Sk."""
        return self.keys.shape[-1]

    @property
    def is_prefix(self) -> Tensor:
        """True where a row sees the keys before some key and none from there on, shaped as ``count``."""
        return self.count == self.behind

    @property
    def is_suffix(self) -> Tensor:
        """True where a row sees the keys from some key on and none before, shaped as ``count``."""
        return self.count == self.num_keys - self.first

    @property
    def is_same_for_every_query(self) -> bool:
        """True where all rows of an item and a head see as many keys, between the same two."""
        parts = (self.count, self.first, self.behind)
        return all(bool((x == x[..., :1]).all()) for x in parts)


@dataclass(frozen=True)
class Order:
    """How a mask stands to the place of each query on the axis of the keys; on the CPU.

    Attributes:
        places: ``(Sq,)`` int64, each query's place.
        before, after: ``(B or 1, Hq or 1, Sq)``, how many keys before and behind its own place a query sees.
        own, next: whether it sees the key at its place and the one behind; False where there is no such key.
        first_after: the first visible key behind its place; Sk where there is none.
        last_after: the last visible key behind its place; −1 where there is none.
    """

    places: Tensor
    before: Tensor
    after: Tensor
    own: Tensor
    next: Tensor
    first_after: Tensor
    last_after: Tensor


@dataclass(frozen=True, eq=False)
class Cells:
    """Cells that are visible or not, asked for row by row; what was counted once is kept.

    Attributes:
        tile: gives bool ``(B or 1, Hq or 1, rows or 1, Sk)`` for a slice of the rows.
        rows: how many there are, Sq, or 1 where all queries see the same.
        cells_a_row: over all batch items and heads that differ.
    """

    tile: Tile
    rows: int
    cells_a_row: int

    @cached_property
    def visible(self) -> Visible:
        """What each row sees."""
        parts = [_seen_in(self.tile(block)) for block in self._blocks()]
        counts, firsts, behinds, keys = zip(*parts, strict=True)
        return Visible(
            torch.cat(counts, dim=-1),
            torch.cat(firsts, dim=-1),
            torch.cat(behinds, dim=-1),
            torch.stack(keys).any(dim=0),
        )

    def order(self, offset: int) -> Order:
        """How each row stands to the place of its query, i + offset; there must be a row for each query."""
        if offset not in self._orders:
            self._orders[offset] = self._order_at(torch.arange(self.rows) + offset)
        return self._orders[offset]

    @cached_property
    def _orders(self) -> dict[int, Order]:
        return {}

    def _order_at(self, places: Tensor) -> Order:
        visible = self.visible
        parts = []
        for block in self._blocks():
            count, first, behind = (x[..., block] for x in (visible.count, visible.first, visible.behind))
            some = Visible(count, first, behind, visible.keys)
            parts.append(_order_in(self.tile(block), places[block], some))
        return Order(places, *(torch.cat(one, dim=-1) for one in zip(*parts, strict=True)))

    def _blocks(self) -> list[slice]:
        return row_blocks(self.rows, self.cells_a_row, CELLS_AT_ONCE)


def _seen_in(tile: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    size, marks = tile.shape[-1], tile.to(torch.int8)
    count = _count(marks)  # (b, h, r)
    first = torch.where(count > 0, marks.argmax(dim=-1), size)
    behind = torch.where(count > 0, size - marks.flip(-1).argmax(dim=-1), 0)
    return count.cpu(), first.cpu(), behind.cpu(), tile.any(dim=-2).cpu()


def _count(marks: Tensor) -> Tensor:
    """How many are set along the last axis; 32 bits are enough for that, and four times as fast."""
    return marks.sum(dim=-1, dtype=torch.int32).to(torch.int64)


def _order_in(tile: Tensor, places: Tensor, seen: Visible) -> tuple[Tensor, ...]:
    """The parts of an order; cells are looked at only where a row sees keys on both sides of its place."""
    size, count, first, behind = tile.shape[-1], seen.count, seen.first, seen.behind  # (b, h, r)
    is_split = (first <= places) & (behind > places + 1)
    after = torch.where(behind > places + 1, count, 0)
    first_after = torch.where(behind > places + 1, first, size)
    if bool(is_split.any()):
        later = tile & (torch.arange(size, device=tile.device) > places.to(tile.device)[:, None])  # (b, h, r, Sk)
        marks = later.view(torch.uint8)
        after = torch.where(is_split, _count(marks).cpu(), after)
        first_after = torch.where(is_split, marks.argmax(dim=-1).cpu(), first_after)
    last_after = torch.where(behind > places + 1, behind - 1, -1)
    own, following = _at(tile, places.to(tile.device)), _at(tile, places.to(tile.device) + 1)
    before = count - after - own.cpu().to(torch.int64)
    return before, after, own.cpu(), following.cpu(), first_after, last_after


def _at(tile: Tensor, keys: Tensor) -> Tensor:
    """Each row's cell at its key of ``keys`` ``(r,)``; False outside."""
    inside = keys.clamp(0, tile.shape[-1] - 1)
    numbers = inside[None, None, :, None].expand(*tile.shape[:3], 1)
    return tile.gather(-1, numbers).squeeze(-1) & (keys == inside)
