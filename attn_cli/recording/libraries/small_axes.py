"""Tensors over all cells, asked for block by block and kept in the fewest cells that say the same."""

from __future__ import annotations

import torch
from torch import Tensor

from attn_cli.recording.libraries.base import PassedOver
from attn_cli.recording.masks.cells import narrowed

LARGEST_MASK = 2**30  # bytes of one mask or bias: a half of what a call's Q, K and V seldom exceed
MOST_CELLS = 2**32  # cells that are evaluated for one call: 65,536 queries times as many keys


def refuse_cells(cells: int, what: str) -> None:
    """Raise PassedOver where evaluating that many cells would hold up the program."""
    if cells > MOST_CELLS:
        raise PassedOver(f"{what} of more than {MOST_CELLS:,} cells")


def refuse_bytes(cells: int, dtype: torch.dtype, what: str) -> None:
    """Raise PassedOver where a mask or bias would be larger than LARGEST_MASK."""
    if cells * dtype.itemsize > LARGEST_MASK:
        raise PassedOver(f"{what} of more than {LARGEST_MASK // 2**30} GiB")


class Gathered:
    """Blocks of rows of one ``(B, H, Sq, Sk)`` tensor, held once for all batch items or heads that agree.

    Args:
        what: how a refusal names the tensor.
        num_rows: Sq.
    """

    def __init__(self, what: str, num_rows: int) -> None:
        self._what, self._num_rows = what, num_rows
        self._blocks: list[Tensor] = []
        self._batch = self._heads = 1

    def add(self, block: Tensor) -> None:
        """Take the next rows, ``(B, H, r, Sk)``.

        Raises:
            PassedOver: the whole would be larger than LARGEST_MASK.
        """
        block = narrowed(block, (0, 1))
        self._batch, self._heads = max(self._batch, block.shape[0]), max(self._heads, block.shape[1])
        refuse_bytes(self._batch * self._heads * self._num_rows * block.shape[-1], block.dtype, self._what)
        self._blocks.append(block.clone(memory_format=torch.contiguous_format))

    def whole(self) -> Tensor:
        """All rows: four axes that broadcast to ``(B, H, Sq, Sk)``, each as small as it can be."""
        blocks = [x.expand(self._batch, self._heads, -1, -1) for x in self._blocks]
        whole = blocks[0] if len(blocks) == 1 else torch.cat(blocks, dim=2)  # (B or 1, H or 1, Sq, Sk)
        return narrowed(whole, (2, 3)).contiguous()
