"""What is left of the rows when all their tiles are read.

Shapes: g stacked key/value heads, n stacked query rows (for every row the heads of a group), C cells.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from attn_cli.inspection.call import Call
from attn_cli.inspection.logits import HIDDEN, VISIBLE_ABOVE
from attn_cli.inspection.stream.loop import Carry, rows_of_carry


@dataclass(frozen=True)
class RowSums:
    """The sums of an item's rows over all their keys; s is a logit, m the row's reference.

    Attributes:
        follows: whether m follows the largest logit; else it is 0.
        reference: m, ``(b, h, r)``.
        sums: Σ exp(s − m)·(s − m); Z = Σ exp(s − m); Σ exp(s − m)·abs(p − j); and, where tokens are known, Σ exp(s − m)
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


class Running:
    """The sums of an item's rows while their tiles pass, stacked; items of one shape use it by turns.

    Args:
        call: the call.
        shape: of the item, ``(b, h, r)``.
        columns: C.
        rows: query rows of a block.
        tiles: of a run.
        space: two buffers for a tile's scores.
    """

    def __init__(
        self, call: Call, shape: tuple[int, int, int], columns: int, rows: int, tiles: int, space: list[Tensor]
    ) -> None:
        batch, heads, queries = shape
        self._shape, self._groups = shape, call.groups
        stack, wide = batch * heads // call.groups, call.groups * queries
        sums = 3 if call.tokens is None else 5

        def room(*size: int) -> Tensor:
            return torch.empty(*size, dtype=call.dtype, device=call.device)

        self._carry = Carry(
            reference=room(stack, 1, wide),
            limit=room(stack, 1, wide),
            output=room(0),
            sums=room(stack, sums, wide),
            cells=room(stack, columns, wide),
            largest=room(stack, 1, wide) if call.inputs.rules.bias is not None else room(0),
            slots=room(0),
            space=space,
        )
        self._output = room(batch, heads, queries, call.inputs.v.shape[-1])
        widest = call.groups * min(rows, queries)
        self._slots = room(tiles, stack, sums, widest)
        self._block_output = room(stack * call.inputs.v.shape[-1] * widest)

    def begin(self, rows: slice) -> Carry:
        """What some of the item's query rows carry before their first tile; it shares memory."""
        begin, wide = rows.start * self._groups, (rows.stop - rows.start) * self._groups
        stack, _, _ = self._carry.reference.shape
        channels = self._output.shape[-1]
        carry = rows_of_carry(self._carry, begin, wide)._replace(
            output=self._block_output[: stack * channels * wide].view(stack, channels, wide),
            slots=self._slots[..., :wide],
        )
        for x in (carry.reference, carry.output, carry.sums):
            x.zero_()
        for x in (carry.cells, carry.largest):
            x.fill_(HIDDEN)
        carry.limit.fill_(VISIBLE_ABOVE)
        return carry

    def end(self, rows: slice, carry: Carry) -> None:
        """Keep the output of these rows, whose room the next block needs."""
        batch, heads, _ = self._shape
        of_groups = torch.unflatten(self._output[:, :, rows], 1, (-1, self._groups))  # (b, hkv, groups, r, Dv)
        shape = (batch, heads // self._groups, of_groups.shape[-1], of_groups.shape[3], self._groups)
        of_groups.copy_(carry.output.view(shape).transpose(-3, -1))

    def result(self, follows: bool) -> RowSums:
        """The sums when all tiles of all rows have passed; views wherever that is possible."""
        carry = self._carry
        return RowSums(
            follows=follows,
            reference=self._unstacked(carry.reference).squeeze(-1),
            sums=self._unstacked(carry.sums).movedim(-1, 0),
            output=self._output,
            cells=self._unstacked(carry.cells),
            largest=self._unstacked(carry.largest).squeeze(-1) if carry.largest.numel() else carry.largest,
        )

    def _unstacked(self, x: Tensor) -> Tensor:
        """``(g, c, n)`` to ``(b, h, r, c)``."""
        batch, heads, queries = self._shape
        x = x.view(batch, heads // self._groups, -1, queries, self._groups)  # (b, hkv, c, r, groups)
        return x.transpose(2, 4).reshape(batch, heads, queries, -1)
