"""The functions that a flex_attention call was given, evaluated over blocks of its cells."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from attn_cli.attention.types import accumulation_dtype
from attn_cli.recording.libraries.base import PassedOver


@dataclass(frozen=True)
class FlexCall:
    """What decides about the cells of one call.

    Attributes:
        q: ``(B, Hq, Sq, D)``.
        k: ``(B, Hkv, Sk, D)``.
        scale: factor on Q·Kᵀ.
        score_mod: function of a scaled logit and its place, or None.
        mask_mod: function of a cell's place, or None.
        blocks: a block mask's block structure, to be obeyed beside its mask_mod, or None.
    """

    q: Tensor
    k: Tensor
    scale: float
    score_mod: Callable[..., Any] | None
    mask_mod: Callable[..., Any] | None
    blocks: BlockStructure | None = None

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """``(B, Hq, Sq, Sk)``."""
        batch, heads, queries, _ = self.q.shape
        return batch, heads, queries, self.k.shape[2]

    def logits(self, rows: slice) -> Tensor:
        """scale·QKᵀ as the score_mod gets it, ``(B, Hq, r, Sk)`` in float32 or float64."""
        batch, heads, _, features = self.q.shape
        kv_heads, dtype = self.k.shape[1], accumulation_dtype(self.q.dtype)
        q = self.q[:, :, rows].to(dtype).reshape(batch, kv_heads, heads // kv_heads, -1, features)
        with torch.autocast(self.q.device.type, enabled=False):
            scores = q @ self.k.to(dtype)[:, :, None].mT  # (B, Hkv, Hq/Hkv, r, Sk)
        return scores.reshape(batch, heads, -1, self.k.shape[2]) * self.scale

    def modified(self, logits: Tensor, rows: slice) -> Tensor:
        """The score_mod of these logits, ``(B, Hq, r, Sk)``."""
        assert self.score_mod is not None
        return self._evaluated(self.score_mod, "score_mod", rows, logits)

    def at(self, logit: float, rows: slice) -> Tensor:
        """The score_mod of one logit for all cells, ``(B, Hq, r, Sk)``; axes that it does not read are expanded."""
        assert self.score_mod is not None
        score = torch.tensor(logit, dtype=accumulation_dtype(self.q.dtype), device=self.q.device)
        return self._evaluated(self.score_mod, "score_mod", rows, score)

    def kept(self, rows: slice) -> Tensor | None:
        """Which cells the block mask keeps, bool ``(B, Hq, r, Sk)``, or None where there is none."""
        if self.mask_mod is None:
            return None
        kept = self._evaluated(self.mask_mod, "mask_mod", rows).to(torch.bool)
        return kept if self.blocks is None else self.blocks.obeyed(kept, rows)

    def _evaluated(self, function: Callable[..., Any], what: str, rows: slice, *scores: Tensor) -> Tensor:
        batch, heads, queries, keys = self.shape
        sizes = (range(batch), range(heads), range(queries)[rows], range(keys))
        places = [torch.arange(size.start, size.stop, device=self.q.device) for size in sizes]
        try:
            with _tensors_index():
                return _over_cells(function, tuple(0 if score.dim() else None for score in scores))(*scores, *places)
        except Exception as error:  # whatever the program's own function raises
            raise PassedOver(f"a {what} that cannot be evaluated ({type(error).__name__})") from error


@dataclass(frozen=True)
class BlockStructure:
    """Which blocks of cells a kernel looks at: a compiled flex_attention leaves out the others.

    Attributes:
        partial: bool ``(B or 1, H or 1, row blocks, key blocks)``, blocks to which the mask_mod is applied.
        full: likewise, blocks that are kept whole, or None.
        size: rows and keys of a block.
    """

    partial: Tensor
    full: Tensor | None
    size: tuple[int, int]

    @classmethod
    def of(cls, block_mask: Any) -> BlockStructure:
        """The structure that a ``BlockMask`` holds."""
        partial = _dense(block_mask.kv_num_blocks, block_mask.kv_indices)
        full = None
        if block_mask.full_kv_num_blocks is not None:
            full = _dense(block_mask.full_kv_num_blocks, block_mask.full_kv_indices)
        return cls(partial, full, tuple(block_mask.BLOCK_SIZE))

    def obeyed(self, kept: Tensor, rows: slice) -> Tensor:
        """The cells ``(B, H, r, Sk)`` that are in a full block, or in a partial one and kept by the mask_mod."""
        obeyed = kept & self._cells(self.partial, rows, kept)
        return obeyed if self.full is None else obeyed | self._cells(self.full, rows, kept)

    def _cells(self, blocks: Tensor, rows: slice, like: Tensor) -> Tensor:
        row_block = torch.arange(rows.start, rows.stop, device=like.device) // self.size[0]
        key_block = torch.arange(like.shape[-1], device=like.device) // self.size[1]
        return blocks[:, :, row_block][..., key_block]  # (B or 1, H or 1, r, Sk)


def _dense(counts: Tensor, indices: Tensor) -> Tensor:
    """The key blocks that the first ``counts`` of ``indices`` list: bool ``(B, H, row blocks, key blocks)``."""
    num_blocks = indices.shape[-1]
    listed = torch.arange(num_blocks, device=indices.device) < counts[..., None]
    places = torch.where(listed, indices, num_blocks).long()  # what is not listed goes to a column of its own
    dense = torch.zeros(*indices.shape[:-1], num_blocks + 1, dtype=torch.bool, device=indices.device)
    return dense.scatter_(-1, places, True)[..., :num_blocks]


def _over_cells(function: Callable[..., Any], scores: tuple[int | None, ...]) -> Callable[..., Tensor]:
    """``function`` of one cell, mapped over keys, rows, heads and batch."""
    for axis in (3, 2, 1, 0):
        places = tuple(0 if axis == n else None for n in range(4))
        function = torch.vmap(function, in_dims=(*scores, *places))
    return function


def _tensors_index() -> AbstractContextManager[Any]:
    """What lets ``table[q_idx]`` be written with a tensor of no axes; PyTorch's own, from a private module."""
    try:
        from torch._dynamo._trace_wrapped_higher_order_op import TransformGetItemToIndex
    except ImportError:
        return nullcontext()
    return TransformGetItemToIndex()
