"""Query rows of a group's heads, stacked so that their key/value head is read once for all.

Shapes here: g stacked key/value heads (of all batch items of a block), n stacked query rows (for every row the
heads of a group, next to each other), t keys. Rows come last: sums over keys then run down the columns, many at once.
"""

from __future__ import annotations

import torch
from torch import Tensor

from attn_cli.inspection.areas import Area
from attn_cli.inspection.call import Call

VIEWS_KEPT = 2**12


def stacked(x: Tensor, call: Call, block: Area) -> Tensor:
    """The block's part ``(b or 1, h or 1, r or 1, t or 1)`` of a tensor, as ``(g or 1, t or 1, n or 1)``.

    What does not differ between heads and rows is not repeated.
    """
    if x.shape[0] == x.shape[1] == 1:
        if x.shape[2] == 1:
            return x[0].mT  # (1, t, 1)
        return x[0, 0, :, None].expand(-1, call.groups, -1).flatten(0, 1).mT[None]  # (1, t, n)
    x = torch.unflatten(x.expand(*block.shape, -1), 1, (-1, call.groups))  # (b, hkv, groups, r, t)
    return x.transpose(2, 3).reshape(-1, call.groups * block.shape[2], x.shape[-1]).mT  # (g, t, n)


class KeyTiles:
    """Tiles of K and V of the heads at work; where they need no conversion they stay where they are.

    Args:
        call: the call.
    """

    def __init__(self, call: Call) -> None:
        self._call = call
        self._views: dict[tuple[int, int, int, int], tuple[Tensor, Tensor]] = {}

    def read(self, block: Area, tiles: list[slice]) -> list[tuple[Tensor, Tensor]]:
        """K ``(g, t, D)`` and Vᵀ ``(g, Dv, t)`` of every tile, in the accumulation dtype."""
        return [self._tile(block, keys) for keys in tiles]

    def _tile(self, block: Area, keys: slice) -> tuple[Tensor, Tensor]:
        name = (block.batch.start, block.kv_heads.start, keys.start, keys.stop)
        found = self._views.get(name)
        if found is None:
            found = self._read(self._call.inputs.k, block, keys), self._read(self._call.inputs.v, block, keys).mT
            if self._are_views(block):
                if len(self._views) >= VIEWS_KEPT:
                    self._views.clear()
                self._views[name] = found
        return found

    def _read(self, x: Tensor, block: Area, keys: slice) -> Tensor:
        if block.batch.stop - block.batch.start == 1:
            return x[block.batch.start, block.kv_heads, keys].to(self._call.dtype)
        return x[block.batch, block.kv_heads, keys].flatten(0, 1).to(self._call.dtype)

    def _are_views(self, block: Area) -> bool:
        is_one = block.batch.stop - block.batch.start == 1
        return is_one and self._call.inputs.k.dtype == self._call.inputs.v.dtype == self._call.dtype
