"""Calls as a library is given them, and attention by PyTorch's own function or the textbook."""

import torch
import torch.nn.functional as F

from attn_cli.attention import textbook
from attn_cli.attention.types import AttentionInputs, CallIndex, Rules
from attn_cli.recording.masks.small import small_mask
from attn_cli.recording.types import CallSite, RawCall

SITE = CallSite("layers.0", "Model", 0, "scaled_dot_product_attention", "program.py:3 in main")


def raw_call(mask=None, batch=2, heads=4, kv_heads=None, queries=6, keys=6, dtype=torch.float64, seed=0, **others):
    generator = torch.Generator().manual_seed(seed)

    def normal(heads, length):
        return torch.randn(batch, heads, length, 8, generator=generator, dtype=torch.float64).to(dtype)

    return RawCall(
        normal(heads, queries),
        normal(kv_heads or heads, keys),
        normal(kv_heads or heads, keys),
        mask=mask,
        **others,
    )


def cells(small, raw):
    """The small form cell by cell, ``(B, Hq, Sq, Sk)`` bool, but for its bias."""
    shape = (*raw.q.shape[:3], raw.k.shape[2])
    tile = small.rule(*shape[2:], raw.q.device).tile()
    return torch.ones(shape, dtype=torch.bool) if tile is None else tile.expand(shape)


def textbook_output(raw):
    """Attention as the small form has it, by attn's specification."""
    small = small_mask(raw)
    rules = Rules(
        small.rule(raw.q.shape[2], raw.k.shape[2], raw.q.device),
        scale=raw.scale,
        softcap=raw.softcap,
        bias=None if small.bias is None else small.bias.to(raw.q.dtype),
        sinks=raw.sinks,
    )
    index = CallIndex.whole(*raw.q.shape[:3])
    return textbook.attend(AttentionInputs(raw.q, raw.k, raw.v, rules, index)).output


def sdpa_output(raw):
    """Attention by PyTorch with the program's own mask."""
    return F.scaled_dot_product_attention(raw.q, raw.k, raw.v, raw.mask, enable_gqa=raw.q.shape[1] != raw.k.shape[1])
