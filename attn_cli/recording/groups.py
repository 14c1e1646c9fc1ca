"""Key/value heads that a program copied for its groups of query heads, taken back."""

from __future__ import annotations

import torch
from torch import Tensor

from attn_cli.recording.masks.cells import bits


def shared_heads(k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """The fewest key/value heads of which repeating each gives ``k`` and ``v`` again, bit by bit.

    Libraries such as transformers repeat each key/value head for its group of query heads (Ainslie 2023) before they
    call attention. Query head h reads key/value head h // (Hq / Hkv), by the one as by the other. Where K and V hold a
    single number each, as an untouched cache does, heads that are alike are no copies.

    Args:
        k: ``(B, Hkv, Sk, D)``.
        v: ``(B, Hkv, Sk, Dv)``.

    Returns:
        views of both, with a divisor of Hkv as their heads.
    """
    heads = k.shape[1]
    sizes = (size for size in range(heads, 1, -1) if heads % size == 0)
    size = next((size for size in sizes if _are_groups(k, size) and _are_groups(v, size)), 1)
    if size == heads and _is_one_number(k) and _is_one_number(v):
        return k, v
    return k[:, ::size], v[:, ::size]


def _are_groups(x: Tensor, size: int) -> bool:
    """Whether each ``size`` heads that follow each other are the same; the first key is looked at before the rest."""
    return _has_equal_heads(x[:, :, :1], size) and _has_equal_heads(x, size)


def _is_one_number(x: Tensor) -> bool:
    """Of the first head alone, where all are the same."""
    numbers = bits(x[:, :1])
    return bool((numbers == numbers[0, 0, 0, 0]).all())


def _has_equal_heads(x: Tensor, size: int) -> bool:
    grouped = torch.unflatten(bits(x), 1, (-1, size))  # (B, Hkv / size, size, S, D)
    firsts = grouped[:, :, :1]
    if x.shape[1] > size and not torch.equal(grouped[:, :1, 1:2], grouped[:, :1, :1]):
        return False
    return all(torch.equal(grouped[:, :, n : n + 1], firsts) for n in range(1, size))
