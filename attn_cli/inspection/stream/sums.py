"""What is left of the rows when all their tiles are read.

Shapes: g stacked key/value heads, n stacked query rows (for every row the heads of a group), C cells.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from attn_cli.inspection.areas import Area
from attn_cli.inspection.call import Call
from attn_cli.inspection.logits import HIDDEN, VISIBLE_ABOVE
from attn_cli.inspection.stream.ending import Goal
from attn_cli.inspection.stream.functions import Functions
from attn_cli.inspection.stream.loop import Carry, Settings, Tiles
from attn_cli.inspection.stream.spans import Reach
from attn_cli.inspection.stream.tiles import stacked


@dataclass(frozen=True)
class RowSums:
    """The sums of an item's rows over all their keys; s is a logit, m the row's reference.

    Attributes:
        follows: whether m follows the largest logit; else it is 0.
        reference: m, ``(b, h, r)``.
        sums: Z = Σ exp(s − m); Σ exp(s − m)·(s − m); Σ exp(s − m)·abs(p − j); and, where tokens are known, Σ exp(s − m)
            over keys that repeat the query's token, and over those behind them: ``(3 or 5, b, h, r)``.
        output: Σ exp(s − m)·v, ``(b, h, r, Dv)``.
        cells: the largest s − m of each cell of the picture, ``(b, h, r, C)``; less than VISIBLE_ABOVE where every key
            of it is hidden.
        largest: the largest visible logit before the bias, ``(b, h, r)``; empty where there is no bias.
    """

    follows: bool
    reference: Tensor
    sums: Tensor
    output: Tensor
    cells: Tensor
    largest: Tensor

    @classmethod
    def empty(cls, call: Call, shape: tuple[int, int, int], columns: int) -> RowSums:
        """Room for rows ``(b, h, r)``."""

        def room(*size: int) -> Tensor:
            return torch.empty(*size, dtype=call.dtype, device=call.device)

        return cls(
            follows=False,
            reference=room(*shape),
            sums=room(3 if call.tokens is None else 5, *shape),
            output=room(*shape, call.inputs.v.shape[-1]),
            cells=room(*shape, columns),
            largest=room(*(shape if call.inputs.rules.bias is not None else (0, 0, 0))),
        )

    def rows(self, rows: slice) -> RowSums:
        """Some rows; they share memory."""
        return replace(
            self,
            reference=self.reference[:, :, rows],
            sums=self.sums[:, :, :, rows],
            output=self.output[:, :, rows],
            cells=self.cells[:, :, rows],
            largest=self.largest[:, :, rows],
        )

    def fill_without_tiles(self) -> None:
        """The numbers of rows that meet no tile."""
        for x in (self.reference, self.sums, self.output):
            x.zero_()
        for x in (self.cells, self.largest):
            x.fill_(HIDDEN)

    @property
    def goal(self) -> Goal:
        """The same for :func:`attn_cli.inspection.stream.ending.end_block`."""
        return Goal(self.reference, self.sums, self.output, self.cells, self.largest)


class Running:
    """The sums of one block while its tiles pass, in room that blocks of one shape use by turns.

    Args:
        call: the call.
        shape: g and n.
        tiles: how many there may be.
        space: two buffers for a tile's scores.
    """

    def __init__(self, call: Call, shape: tuple[int, int], tiles: int, space: list[Tensor]) -> None:
        def room(*size: int) -> Tensor:
            return torch.empty(*size, dtype=call.dtype, device=call.device)

        sums = 3 if call.tokens is None else 5
        output = room(*shape, call.inputs.v.shape[-1])
        self._carry = Carry(room(*shape, 1), room(*shape, 1), output, room(sums, tiles, *shape, 1), space)
        self._sides: list[int] = []
        self._starts: list[int] = []
        self._cells: list[Tensor] = []
        self._largest: list[Tensor] = []

    def begin(self) -> None:
        """Before the first tile."""
        self._carry.reference.zero_()
        self._carry.limit.fill_(VISIBLE_ABOVE)
        self._carry.output.zero_()
        for entries in (self._sides, self._starts, self._cells, self._largest):
            entries.clear()

    def add(self, functions: Functions, q: Tensor, tiles: Tiles, settings: Settings) -> None:
        """Take in some tiles; q ``(g, n, D)``, scaled."""
        cells, largest = functions.add_tiles(q, tiles, len(self._sides), self._carry, settings, self._cells)
        self._cells += cells
        self._largest += largest
        self._sides += tiles.sides
        self._starts += tiles.starts

    def end(self, functions: Functions, call: Call, block: Area, reach: Reach, pool: int, rows: RowSums) -> None:
        """Enter what all tiles gave into the block's rows."""
        if not self._sides:
            rows.fill_without_tiles()
            return
        places = stacked(call.seen.mask.places[block.rows][None, None, :, None], call, block)  # (1, n, 1)
        columns = [start // pool for start in self._starts]
        ends = [reach.least_place, reach.largest_place]
        functions.end_block(
            self._carry, self._sides, columns, self._cells, self._largest, places, ends, call.groups, rows.goal
        )
