"""Key/value heads that a program copied for its groups of query heads, taken back."""

from __future__ import annotations

import torch
from torch import Tensor

from attn_cli.recording.mask_cells import bits


def shared_heads(k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """The fewest key/value heads of which repeating each gives ``k`` and ``v`` again, bit by bit.

    Libraries such as transformers repeat each key/value head for its group of query heads (Ainslie 2023) before they
    call attention. Query head h reads key/value head h // (Hq / Hkv), by the one as by the other.

    Args:
        k: ``(B, Hkv, Sk, D)``.
        v: ``(B, Hkv, Sk, Dv)``.

    Returns:
        views of both, with a divisor of Hkv as their heads.
    """
    heads = k.shape[1]
    sizes = (size for size in range(heads, 1, -1) if heads % size == 0)
    size = next((size for size in sizes if _are_groups(k, size) and _are_groups(v, size)), 1)
    return k[:, ::size], v[:, ::size]


def _are_groups(x: Tensor, size: int) -> bool:
    """Whether each ``size`` heads that follow each other are the same; the first key is looked at before the rest."""
    return _has_equal_heads(x[:, :, :1], size) and _has_equal_heads(x, size)


def _has_equal_heads(x: Tensor, size: int) -> bool:
    grouped = torch.unflatten(bits(x), 1, (-1, size))  # (B, Hkv / size, size, S, D)
    firsts = grouped[:, :, :1]
    if x.shape[1] > size and not torch.equal(grouped[:, :1, 1:2], grouped[:, :1, :1]):
        return False
    return all(torch.equal(grouped[:, :, n : n + 1], firsts) for n in range(1, size))
