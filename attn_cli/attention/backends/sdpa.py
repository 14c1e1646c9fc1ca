"""PyTorch's ``scaled_dot_product_attention``: its own choice of kernel, or one kernel by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from attn_cli.attention import torch_compat
from attn_cli.attention.backends.base import refused
from attn_cli.attention.blocks import row_blocks
from attn_cli.attention.textbook import rows_of
from attn_cli.attention.types import AttentionInputs

MASK_CELLS_AT_ONCE = 2**25
ROWS_OF_WINDOW = 1024


class SDPABackend:
    """``scaled_dot_product_attention``, by its own choice or held to one of its kernels.

    Args:
        name: ``"sdpa"``, or a kernel: ``"flash"``, ``"efficient"``, ``"cudnn"``, ``"math"``.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def refusal(self, inputs: AttentionInputs) -> str | None:
        """SDPA knows scale, bias, mask and causal order, and nothing else."""
        rules = inputs.rules
        if rules.softcap is not None:
            return "scaled_dot_product_attention has no softcap"
        if rules.sinks is not None:
            return "scaled_dot_product_attention has no attention sinks"
        if rules.mask.value is not None:
            return "scaled_dot_product_attention hides keys with −∞, not with a finite mask value"
        return None

    def prepare(self, inputs: AttentionInputs) -> Callable[[], Tensor]:
        """The mask is made beforehand; one too large for one piece is made and used in blocks of query rows."""
        attention = _attention(inputs)
        return attention if self.name == "sdpa" else lambda: self._only(attention, inputs)

    def _only(self, attention: Callable[[], Tensor], inputs: AttentionInputs) -> Tensor:
        """The kernel of this name and no other."""
        reasons: list[str] = []
        try:
            with torch_compat.only_kernel(self.name) as reasons:
                return attention()
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            raise refused(self.name, " ".join([str(error), *reasons]), self._hint(inputs)) from error

    def _hint(self, inputs: AttentionInputs) -> str:
        if self.name in ("efficient", "cudnn") and inputs.q.device.type != "cuda":
            return f"PyTorch has the {self.name} kernel on CUDA alone; --backend auto takes one that can"
        return "--backend auto takes one that can"

    def kernel(self, inputs: AttentionInputs, operators: list[str]) -> tuple[str, str]:
        """The fused kernel that was dispatched, or math."""
        return torch_compat.fused_kernel(operators)


def _attention(inputs: AttentionInputs) -> Callable[[], Tensor]:
    """SDPA with the smallest form of the mask that says the same."""
    rules, whole = inputs.rules, slice(None)
    if rules.bias is None and _is_fused(inputs):
        if not rules.mask.hides_anything:
            return lambda: _sdpa(inputs, whole)
        if rules.mask.is_causal_from_first:
            return lambda: _sdpa(inputs, whole, is_causal=True)
        if _is_causal_from_last(inputs):
            bottom_right = torch_compat.bottom_right_causal(*inputs.weights_shape[2:])
            return lambda: _sdpa(inputs, whole, attn_mask=bottom_right)
    blocks = _row_blocks(inputs)
    if len(blocks) > 1:
        pieces = [_reached(inputs, rows) for rows in blocks]
        return lambda: torch.cat([_sdpa(piece, whole, attn_mask=_mask(piece, whole)) for piece in pieces], dim=2)
    mask = _mask(inputs, whole)
    return lambda: _sdpa(inputs, whole, attn_mask=mask)


def _reached(inputs: AttentionInputs, rows: slice) -> AttentionInputs:
    """Some query rows with the keys from the first that any of them sees to the last; all are views."""
    mask, bias = inputs.rules.mask, inputs.rules.bias
    first, behind = mask.interval(rows)
    start = min(int(first.amin()), mask.num_keys - 1)
    keys = slice(start, max(int(behind.amax()), start + 1))  # at least one key
    lens = mask.valid_lens
    if lens is not None:
        lens = (lens[:, rows] if lens.dim() == 2 else lens).sub(start).clamp(0, keys.stop - start)
    part = replace(
        mask,
        num_keys=keys.stop - start,
        places=mask.places[rows] - start,
        valid_lens=lens,
        keep=None if mask.keep is None else _part(mask.keep, rows, keys),
    )
    bias = None if bias is None else _part(bias, rows, keys)
    return replace(
        inputs,
        q=inputs.q[:, :, rows],
        k=inputs.k[:, :, keys],
        v=inputs.v[:, :, keys],
        rules=replace(inputs.rules, mask=part, bias=bias, scale=inputs.scale),
    )


def _part(x: Tensor, rows: slice, keys: slice) -> Tensor:
    """Some rows and keys of a tensor that broadcasts to ``(B, Hq, Sq, Sk)``."""
    x = rows_of(x, rows)
    return x if x.shape[3] == 1 else x[..., keys]


def _is_fused(inputs: AttentionInputs) -> bool:
    """False where SDPA falls back on its math kernel, which holds all scores at once."""
    return inputs.q.shape[-1] == inputs.v.shape[-1]


def _is_causal_from_last(inputs: AttentionInputs) -> bool:
    """Causal order aligned bottom-right and nothing else, on CUDA, where the fused kernels know it without a mask."""
    mask, (queries, keys) = inputs.rules.mask, inputs.weights_shape[2:]
    only_causal = mask.causal and mask.window is None and mask.valid_lens is None and mask.keep is None
    if not only_causal or inputs.q.device.type != "cuda" or queries > keys:
        return False
    return torch.equal(mask.places, torch.arange(keys - queries, keys, device=mask.places.device))


def _sdpa(inputs: AttentionInputs, rows: slice, **mask: Any) -> Tensor:
    return F.scaled_dot_product_attention(
        inputs.q[:, :, rows],
        inputs.k,
        inputs.v,
        scale=inputs.scale,
        enable_gqa=inputs.q.shape[1] != inputs.k.shape[1],
        **mask,
    )


def _mask(inputs: AttentionInputs, rows: slice) -> Tensor | None:
    """Mask and bias of these rows in SDPA's form: bool, float, or None where there is neither."""
    keep = inputs.rules.mask.tile(rows)
    if inputs.rules.bias is None:
        return keep
    bias = rows_of(inputs.rules.bias, rows).to(inputs.q.dtype)
    return bias if keep is None else bias.masked_fill(~keep, -torch.inf)


def _row_blocks(inputs: AttentionInputs) -> list[slice]:
    """Query rows whose mask (or scores) are made at once: all of them, unless that takes more than the limit."""
    queries, keys = inputs.weights_shape[2:]
    rules = inputs.rules
    wide = [x for x in (rules.bias, rules.mask.keep) if x is not None]
    copies = max((x.shape[0] * x.shape[1] for x in wide), default=1)
    if not _is_fused(inputs):
        copies = inputs.q.shape[0] * inputs.q.shape[1]
    if rules.mask.valid_lens is not None:
        copies = max(copies, len(rules.mask.valid_lens))
    blocks = row_blocks(queries, copies * keys, MASK_CELLS_AT_ONCE)
    if rules.mask.window is None or blocks[0].stop <= ROWS_OF_WINDOW or queries <= 2 * ROWS_OF_WINDOW:
        return blocks
    return [slice(start, min(start + ROWS_OF_WINDOW, queries)) for start in range(0, queries, ROWS_OF_WINDOW)]
