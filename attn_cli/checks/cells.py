"""Cells that are visible or hidden, counted row by row in bounded memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from attn_cli.attention.blocks import row_blocks

CELLS_AT_ONCE = 2**22

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


@dataclass(frozen=True)
class Cells:
    """Cells that are visible or not, asked for row by row.

    Attributes:
        tile: gives bool ``(B or 1, Hq or 1, rows or 1, Sk)`` for a slice of the rows.
        rows: how many there are, Sq, or 1 where all queries see the same.
        cells_a_row: over all batch items and heads that differ.
    """

    tile: Tile
    rows: int
    cells_a_row: int

    def visible(self) -> Visible:
        """Walk all rows."""
        parts = [_seen_in(self.tile(block)) for block in row_blocks(self.rows, self.cells_a_row, CELLS_AT_ONCE)]
        counts, firsts, behinds, keys = zip(*parts, strict=True)
        return Visible(
            torch.cat(counts, dim=-1),
            torch.cat(firsts, dim=-1),
            torch.cat(behinds, dim=-1),
            torch.stack(keys).any(dim=0),
        )

    def order(self, places: Tensor) -> Order:
        """Walk all rows beside the place of each query ``(Sq,)``; there must be a row for each."""
        blocks = row_blocks(self.rows, self.cells_a_row, CELLS_AT_ONCE)
        parts = [_order_in(self.tile(block), places[block]) for block in blocks]
        return Order(places.cpu(), *(torch.cat(one, dim=-1) for one in zip(*parts, strict=True)))


def _seen_in(tile: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    size, marks = tile.shape[-1], tile.to(torch.int8)
    count = _count(marks)  # (b, h, r)
    first = torch.where(count > 0, marks.argmax(dim=-1), size)
    behind = torch.where(count > 0, size - marks.flip(-1).argmax(dim=-1), 0)
    return count.cpu(), first.cpu(), behind.cpu(), tile.any(dim=-2).cpu()


def _count(marks: Tensor) -> Tensor:
    """How many are set along the last axis; 32 bits are enough for that, and four times as fast."""
    return marks.sum(dim=-1, dtype=torch.int32).to(torch.int64)


def _order_in(tile: Tensor, places: Tensor) -> tuple[Tensor, ...]:
    size, places = tile.shape[-1], places.to(tile.device)
    later = tile & (torch.arange(size, device=tile.device) > places[:, None])  # (b, h, r, Sk)
    marks = later.to(torch.int8)
    after = _count(marks)
    first = torch.where(after > 0, marks.argmax(dim=-1), size)
    last = torch.where(after > 0, size - 1 - marks.flip(-1).argmax(dim=-1), -1)
    own, following = _at(tile, places), _at(tile, places + 1)
    before = _count(tile) - after - own.to(torch.int64)
    return tuple(x.cpu() for x in (before, after, own, following, first, last))


def _at(tile: Tensor, keys: Tensor) -> Tensor:
    """Each row's cell at its key of ``keys`` ``(r,)``; False outside."""
    inside = keys.clamp(0, tile.shape[-1] - 1)
    numbers = inside[None, None, :, None].expand(*tile.shape[:3], 1)
    return tile.gather(-1, numbers).squeeze(-1) & (keys == inside)
