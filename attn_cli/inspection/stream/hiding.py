"""Which tiles of a block's rows hold hidden keys, and which are hidden whole.

Shapes: g stacked key/value heads, n stacked query rows, t keys.
"""

from __future__ import annotations

import torch
from torch import Tensor

from attn_cli.inspection.areas import Area
from attn_cli.inspection.call import Call
from attn_cli.inspection.logits import HIDDEN, keys_of
from attn_cli.inspection.stream.loop import FIRST_CUTS, LAST_CUTS
from attn_cli.inspection.stream.spans import Reach, Spans
from attn_cli.inspection.stream.tiles import stacked


class Hiding:
    """Which keys are hidden from a block's rows, asked for tile by tile.

    Args:
        call: the call.
        spans: the keys that its rows reach.
        block: some rows.
        reach: of the block.
    """

    def __init__(self, call: Call, spans: Spans, block: Area, reach: Reach) -> None:
        self._call, self._spans, self._block, self._reach = call, spans, block, reach

    @property
    def has_gaps(self) -> bool:
        """Whether a tile may be wholly hidden between the first key and the last that the block reaches."""
        return self._call.inputs.rules.mask.keep is not None or self._reach.latest_first > self._reach.earliest_behind

    def leaves_nothing(self, keys: slice) -> bool:
        """Whether all of a tile is hidden."""
        if self.stacked_rows(keys) == (0, 0):
            return True
        kept = self._kept(keys)
        return kept is not None and not bool(kept.any())

    def stacked_rows(self, keys: slice) -> tuple[int, int]:
        """The first stacked row that sees a key of a tile, before ``keep``, and the one behind the last."""
        groups = self._call.groups
        begin, end = (0, self._block.shape[2]) if self._reach.covers(keys) else self._spans.rows_of(self._block, keys)
        return begin * groups, end * groups

    def cut(self, keys: slice) -> int:
        """Which ends of the rows' intervals lie in a tile: FIRST_CUTS, LAST_CUTS, their sum, or 0."""
        first, last = keys.start < self._reach.latest_first, keys.stop > self._reach.earliest_behind
        return (FIRST_CUTS if first else 0) + (LAST_CUTS if last else 0)

    def tile(self, keys: slice) -> Tensor | None:
        """0, or :data:`HIDDEN` and less, to add where ``keep`` or the bias hides a key, ``(g or 1, t, n or 1)``.

        None where neither hides any.
        """
        hidden = None
        kept = self._kept(keys)
        if kept is not None and not bool(kept.all()):
            hidden = self._where(~kept)
        if self._call.seen.bias is None:
            return hidden
        by_bias = self._where(self.bias(keys) == -torch.inf)
        return by_bias if hidden is None else by_bias + hidden

    def bias(self, keys: slice) -> Tensor:
        """The bias of a tile, ``(g or 1, t or 1, n or 1)``."""
        bias = self._call.inputs.rules.bias
        assert bias is not None  # asked for only where there is one
        return self._stacked_tile(bias, keys)

    def _where(self, hidden: Tensor) -> Tensor:
        """HIDDEN where True, else 0; contiguous. PyTorch's default dtype, which may be a half, plays no part."""
        zeros = torch.zeros(hidden.shape, dtype=self._call.dtype, device=hidden.device)
        return zeros.masked_fill_(hidden, HIDDEN)

    def _kept(self, keys: slice) -> Tensor | None:
        """The keep mask's tile, ``(g or 1, t or 1, n or 1)``."""
        keep = self._call.inputs.rules.mask.keep
        return None if keep is None else self._stacked_tile(keep, keys)

    def _stacked_tile(self, x: Tensor, keys: slice) -> Tensor:
        return stacked(keys_of(self._block.of(x), keys), self._call, self._block)
