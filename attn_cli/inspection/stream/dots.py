"""Dot products that several metrics ask for, formed while the queries are in the cache.

The function can be compiled, see :mod:`attn_cli.inspection.stream.functions`.
"""

import torch
from torch import Tensor


def near_scores(q: Tensor, k: Tensor, place: int, at_once: int, near: Tensor, first: Tensor) -> None:
    """Dot products of every query with the keys around its place, and with the first ones.

    Args:
        q: ``(b, hkv, groups, r, D)``.
        k: ``(b, hkv, Sk, D)``, in any dtype.
        place: of the first query; the others follow one after the other.
        at_once: rows that stay in the cache while their keys pass.
        near: ``(b, hkv, groups, r, 3)``; gets q·k for the keys before, at and behind the place, 0 where there is none.
        first: ``(b, hkv, groups, r, ≤ 4)``; gets q·k for the first keys.
    """
    first_keys = k[:, :, : first.shape[4]].to(q.dtype).unsqueeze(2).transpose(3, 4)  # (b, hkv, 1, D, ≤ 4)
    for start in range(0, q.shape[3], at_once):
        some = q[:, :, :, start : start + at_once]
        first[:, :, :, start : start + at_once].copy_(torch.matmul(some, first_keys))
        for number in range(3):
            goal = near[:, :, :, start : start + at_once, number]
            begin = place + start + number - 1
            end = begin + some.shape[3]
            low, high = max(begin, 0), min(end, k.shape[2])
            goal.zero_()
            if low < high:
                keys = k[:, :, low:high].to(q.dtype).unsqueeze(2)  # (b, hkv, 1, r, D)
                products = some[:, :, :, low - begin : high - begin] * keys
                goal[:, :, :, low - begin : high - begin].copy_(products.sum(dim=-1))
