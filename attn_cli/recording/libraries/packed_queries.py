"""Query heads that transformers hands over as queries, to spare copies of the keys while it generates.

For a single query token its ``sdpa_attention_forward`` gives ``scaled_dot_product_attention`` the G query heads of one
key/value head as G queries of one head (``pack_gqa``). They are given back their places here.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from attn_cli.recording.types import RawCall

CALLER = "integrations/sdpa_attention.py:"
GROUPS = "num_key_value_groups"


def unpacked(raw: RawCall, caller: str, module: nn.Module | None) -> RawCall:
    """The call with a single query token and all its query heads; as it is, where none were packed.

    Args:
        raw: the call; where packed, q is ``(B, Hkv, G, D)``.
        caller: file, line and function that called.
        module: the innermost one that was running.
    """
    groups = getattr(module, GROUPS, None)
    if CALLER not in caller or not isinstance(groups, int) or not _are_packed(raw, groups):
        return raw
    return replace(
        raw,
        q=_as_heads(raw.q),
        mask=raw.mask if raw.mask is None or raw.mask.dim() < 4 or raw.mask.shape[1] == 1 else _as_heads(raw.mask),
        output=None if raw.output is None else _as_heads(raw.output),
    )


def _are_packed(raw: RawCall, groups: int) -> bool:
    """True for G queries that are no prompt of G tokens; such a one comes with its keys repeated for each head."""
    _, heads, queries, _ = raw.q.shape
    if groups < 2 or queries != groups or heads != raw.k.shape[1] or raw.causal is not None:
        return False
    return heads % groups != 0 or not torch.equal(raw.k[:, 0], raw.k[:, 1])


def _as_heads(x: Tensor) -> Tensor:
    return x.reshape(x.shape[0], -1, 1, x.shape[-1])  # (B, Hq, 1, D)
