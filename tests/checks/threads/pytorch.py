"""PyTorch's threads: empty rows that turn into NaN, masks the other way round, causal order at the other corner."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import MultiheadAttention
from torch.nn.functional import scaled_dot_product_attention

from tests.checks.threads.captures import Capture, normal, plain_softmax


def pytorch_103749() -> Capture:
    """https://github.com/pytorch/pytorch/issues/103749, "SDPA produces NaN with padding mask", of June 2023.

    The author pads a prompt of 5 tokens with a row of the boolean mask that is False throughout, and gets NaN from
    ``scaled_dot_product_attention`` and from the formula written out. Shapes, scale and mask are the thread's. The
    recorded output is the formula's; PyTorch 2.13 returns 0 for such a row.
    """
    tensors = normal(1, 2, queries=6, keys=10, dim=8)
    mask = torch.ones(1, 1, 6, 10, dtype=torch.bool).tril()
    mask[..., 5, :] = False
    output = plain_softmax(**tensors, keep=mask, scale=0.125)
    return Capture({**tensors, "mask": mask, "output": output}, {"scale": "0.125"})


def pytorch_163997() -> Capture:
    """https://github.com/pytorch/pytorch/issues/163997, "… returns all-NaN rows during evaluation but not training".

    A float mask ``(B, 1, N, N)`` has rows of −∞ for padding; after an upgrade from PyTorch 2.6 to 2.8 (macOS) those
    rows come out as NaN in evaluation, and as 0 in training. The recorded output is what evaluation gave: the formula
    without care for empty rows.
    """
    tensors, real = normal(1, 2, queries=8, keys=8, dim=8), torch.arange(8) < 6
    keep = (real[:, None] & real)[None, None]  # (1, 1, 8, 8)
    mask = torch.zeros(keep.shape).masked_fill(~keep, -torch.inf)
    return Capture({**tensors, "attn_mask": mask, "output": plain_softmax(**tensors, keep=keep)})


def pytorch_110213() -> Capture:
    """https://github.com/pytorch/pytorch/issues/110213, SDPA "behaves differently between v2.0 and v2.1".

    A row whose mask is ``finfo.min`` throughout, to mean "attend to nothing" (Falcon with left padding): NaN on the
    GPU with 2.1, the mean of all values on the CPU and with 2.0. Seed, shapes and mask are the thread's; the recorded
    output is PyTorch's own on the CPU.
    """
    torch.manual_seed(0)
    q, k, v = (torch.randn(1, 1, 3, 4) for _ in range(3))
    mask = torch.ones(1, 1, 3, 3)
    mask[..., 0, :] = torch.finfo(torch.float32).min
    output = scaled_dot_product_attention(q, k, v, mask)
    return Capture({"q": q, "k": k, "v": v, "attn_mask": mask, "output": output})


def pytorch_170415() -> Capture:
    """https://github.com/pytorch/pytorch/pull/170415, "Clarify boolean mask polarity in SDPA" (fixes issue 170400).

    A boolean causal mask of ``nn.MultiheadAttention``, where True hides, is handed on to
    ``scaled_dot_product_attention``, where True shows: every query then sees its future alone. The recorded output
    is the module's own, with projections that change nothing.
    """
    x = torch.randn(2, 6, 16, generator=torch.Generator().manual_seed(0))
    hidden = torch.ones(6, 6, dtype=torch.bool).triu(1)
    output = _without_projections(16, 2)(x, x, x, attn_mask=hidden, need_weights=False)[0]
    split = [y.detach().unflatten(-1, (2, 8)).transpose(1, 2) for y in (x, output)]  # (B, S, E) -> (B, H, S, D)
    return Capture({**dict.fromkeys("qkv", split[0]), "mask": hidden, "output": split[1]})


def pytorch_108108() -> Capture:
    """https://github.com/pytorch/pytorch/issues/108108, "Change default behavior of … causal masking alignment".

    2 queries and 5 keys, the thread's example: ``is_causal`` puts the first query on the first key, a KV cache needs
    the last query on the last key. The recorded output is PyTorch's own.
    """
    tensors = normal(1, 2, queries=2, keys=5, dim=8)
    output = scaled_dot_product_attention(tensors["q"], tensors["k"], tensors["v"], is_causal=True)
    return Capture({**tensors, "output": output}, {"causal": "true"})


def _without_projections(width: int, heads: int) -> MultiheadAttention:
    """The module with projections that change nothing."""
    module = MultiheadAttention(width, heads, bias=False, batch_first=True).eval()
    unit: Tensor = torch.eye(width)
    with torch.no_grad():
        assert module.in_proj_weight is not None
        module.in_proj_weight.copy_(torch.cat([unit] * 3))
        module.out_proj.weight.copy_(unit)
    return module
