"""The keys, values and turned queries of ``flash_attn_with_kvcache``, which reads them from a cache that it extends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from attn_cli.attention.types import accumulation_dtype
from attn_cli.recording.libraries.base import PassedOver
from attn_cli.recording.libraries.packed import Sequences, lens_tensor


def cached(given: Mapping[str, Any], queries: Sequences) -> tuple[Tensor, Tensor, Sequences]:
    """What the queries met, once the call has put its new keys and values into the cache.

    Args:
        given: the call's arguments.
        queries: the sequences of its queries.

    Returns:
        keys ``(rows, Hkv, D)``, values ``(rows, Hkv, Dv)``, and which of these rows are each sequence's.
    """
    k, v = given["k_cache"], given["v_cache"]  # (B of the cache, S, Hkv, D), or (pages, rows of a page, Hkv, D)
    batch, device = len(queries.lens), k.device
    table = given.get("block_table", given.get("page_table"))
    size = k.shape[1] if table is None else table.shape[1] * k.shape[1]
    end = _old_lens(given, size, batch, device) + _new_lens(given, batch, device)
    left = given.get("cache_leftpad")
    start = lens_tensor(0 if left is None else left, batch, device)
    within = Sequences.starting_at(start, end - start)
    if table is None:
        items = given.get("cache_batch_idx")
        items = torch.arange(batch, device=device) if items is None else items.long()
        keys = Sequences(within.rows + items[:, None] * size, within.lens)
    else:
        keys = within.in_pages(table, k.shape[1])
    return k.flatten(0, 1), v.flatten(0, 1), keys


def _old_lens(given: Mapping[str, Any], size: int, batch: int, device: torch.device) -> Tensor:
    """Keys in the cache before the call; all of it where their number was not given."""
    lens = given.get("cache_seqlens")
    return lens_tensor(size if lens is None else lens, batch, device)


def _new_lens(given: Mapping[str, Any], batch: int, device: torch.device) -> Tensor:
    """Keys that the call added."""
    bounds, new = given.get("cu_seqlens_k_new"), given.get("k")
    if bounds is None:
        return lens_tensor(0 if new is None else new.shape[1], batch, device)
    return lens_tensor(bounds.diff(), batch, device)


def rotated(q: Tensor, queries: Sequences, given: Mapping[str, Any], is_placed: bool) -> Tensor:
    """The queries ``(total, H, D)`` as the kernel turned them by their places (Su 2021, RoFormer, equation 34).

    Args:
        q: as given.
        queries: the sequences among its rows.
        given: the call's arguments; the first query is at the place behind the keys that the cache held.
        is_placed: whether each further query is one place further; else all are at the first one's.
    """
    if given.get("cache_leftpad") is not None:
        raise PassedOver("rotary embedding in a cache with padding on the left")
    old = _old_lens(given, given["k_cache"].shape[1], len(queries.lens), q.device)
    steps = torch.arange(queries.rows.shape[1], device=q.device) * is_placed
    places = torch.zeros(len(q), dtype=torch.long, device=q.device)
    places[queries.rows[queries.is_there]] = (old[:, None] + steps)[queries.is_there]
    dtype = accumulation_dtype(q.dtype)
    cos, sin = (given[name].to(dtype)[places][:, None] for name in ("rotary_cos", "rotary_sin"))  # (total, 1, R/2)
    size = 2 * cos.shape[-1]
    x, rest = q[..., :size].to(dtype), q[..., size:]
    a, b = (x[..., 0::2], x[..., 1::2]) if given["rotary_interleaved"] else x.chunk(2, dim=-1)
    pair = (a * cos - b * sin, a * sin + b * cos)
    x = torch.stack(pair, dim=-1).flatten(-2) if given["rotary_interleaved"] else torch.cat(pair, dim=-1)
    return torch.cat((x.to(q.dtype), rest), dim=-1)
