"""What the mask and the places mean for one tile after the other of a block's rows.

Shapes: g stacked key/value heads, n stacked query rows, t keys.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from attn_cli.inspection.areas import Area
from attn_cli.inspection.call import Call
from attn_cli.inspection.logits import HIDDEN, keys_of
from attn_cli.inspection.stream.spans import Reach, Spans
from attn_cli.inspection.stream.tiles import stacked

TILES_KEPT = 16


class TileMemory:
    """Tiles that come again in other blocks: where places follow one another, only their distance matters."""

    def __init__(self, spans: Spans) -> None:
        self._comes_again = spans.follow_one_another
        self._tiles: dict[tuple[str, int, int, int], Tensor] = {}

    def recall(self, key: tuple[str, int, int, int], make: Callable[[], Tensor]) -> Tensor:
        """The tile kept under ``key`` (what it is, its first key's place from the first row's, n and t), or a new one.

        Args:
            key: tiles with equal keys are equal.
            make: called where there is none yet.
        """
        if not self._comes_again:
            return make()
        if key not in self._tiles:
            if len(self._tiles) >= TILES_KEPT:
                self._tiles.clear()
            self._tiles[key] = make()
        return self._tiles[key]


class Hiding:
    """Which keys are hidden from a block's rows and how far they lie from them, asked for tile by tile.

    Args:
        call: the call.
        spans: the keys that its rows reach.
        block: some rows.
        reach: of the block.
        memory: of the thread that asks.
    """

    def __init__(self, call: Call, spans: Spans, block: Area, reach: Reach, memory: TileMemory) -> None:
        self._call, self._spans, self._block, self._reach, self._memory = call, spans, block, reach, memory

    def tile(self, keys: slice) -> Tensor | None:
        """Numbers to add to the logits of a tile, 0 or :data:`HIDDEN` and less, ``(g or 1, n or 1, t)``.

        None where nothing is hidden.
        """
        hidden = None if self._reach.covers(keys) else self._outside(keys)
        kept = self._kept(keys)
        if kept is None or bool(kept.all()):
            return hidden
        masked = torch.where(kept, 0.0, HIDDEN).to(self._call.dtype)
        return masked if hidden is None else masked + hidden

    @property
    def has_gaps(self) -> bool:
        """Whether a tile may be wholly hidden between the first key and the last that the block reaches."""
        return self._call.inputs.rules.mask.keep is not None or self._reach.latest_first > self._reach.earliest_behind

    def stacked_rows(self, keys: slice) -> tuple[int, int]:
        """The first stacked row that sees a key of a tile, before ``keep``, and the one behind the last."""
        groups = self._call.groups
        begin, end = (0, self._block.shape[2]) if self._reach.covers(keys) else self._spans.rows_of(self._block, keys)
        return begin * groups, end * groups

    def leaves_nothing(self, keys: slice) -> bool:
        """Whether all of a tile is hidden."""
        if self.stacked_rows(keys) == (0, 0):
            return True
        kept = self._kept(keys)
        return kept is not None and not bool(kept.any())

    def distances(self, keys: slice) -> Tensor:
        """abs(p − j) for a tile that has places among its keys, ``(1, n, t)``."""
        return self._memory.recall(self._key("distances", keys), lambda: self._apart(keys))

    def _apart(self, keys: slice) -> Tensor:
        places = stacked(self._call.seen.mask.places[self._block.rows][None, None, :, None], self._call, self._block)
        return (places - _numbers(keys, places)).abs_().to(self._call.dtype)

    def _kept(self, keys: slice) -> Tensor | None:
        """The keep mask's tile, ``(g or 1, n or 1, t or 1)``."""
        keep = self._call.inputs.rules.mask.keep
        return None if keep is None else stacked(keys_of(self._block.of(keep), keys), self._call, self._block)

    def _outside(self, keys: slice) -> Tensor:
        low, high = keys.start < self._reach.latest_first, keys.stop > self._reach.earliest_behind
        return self._memory.recall(self._key(f"hidden {low} {high}", keys), lambda: self._ramp(keys))

    def _ramp(self, keys: slice) -> Tensor:
        """0 inside a row's interval, and the less the farther outside, in whole steps of HIDDEN."""
        block = self._block
        both = self._call.seen.mask.interval(block.rows)  # (B or 1, 1, r) each
        batch = slice(None) if len(both[0]) == 1 else block.batch
        first, behind = (stacked(x[batch, :, :, None], self._call, block) for x in both)  # (g or 1, n, 1)
        numbers = _numbers(keys, first)
        steps = (behind - 1 - numbers).clamp_(max=0).add_((numbers - first).clamp_(max=0))  # (g or 1, n, t)
        hidden: Tensor = steps.to(self._call.dtype) * -HIDDEN
        return hidden

    def _key(self, name: str, keys: slice) -> tuple[str, int, int, int]:
        return name, keys.start - self._reach.origin, self._block.shape[2], keys.stop - keys.start


def _numbers(keys: slice, like: Tensor) -> Tensor:
    return torch.arange(keys.start, keys.stop, device=like.device)
