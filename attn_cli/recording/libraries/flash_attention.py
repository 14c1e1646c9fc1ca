"""The flash-attn package (Dao 2023, arXiv 2307.08691) and FlashAttention-3 (Shah 2024, arXiv 2407.08608).

Both lay tensors out as ``(B, S, H, D)``, and sequences of several lengths behind one another as ``(total, H, D)``. The
latter are recorded as a padded batch with valid lengths; see :func:`attn_cli.recording.libraries.packed.with_lengths`.
"""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from attn_cli.recording.libraries.arguments import arguments, output_of
from attn_cli.recording.libraries.base import Args, Kwargs, PassedOver, Point
from attn_cli.recording.libraries.flash_cache import cached, rotated
from attn_cli.recording.libraries.packed import Sequences, places_of, with_lengths
from attn_cli.recording.libraries.small_axes import refuse_bytes
from attn_cli.recording.types import Align, RawCall

SECOND, THIRD = "flash_attn.flash_attn_interface", "flash_attn_interface"
TENSORS = ("q", "k", "v", "kv", "qkv", "qv", "k_cache", "v_cache", "num_heads_q")
RULES = ("dropout_p", "softmax_scale", "causal", "window_size", "softcap", "alibi_slopes")
LENGTHS = ("cu_seqlens", "cu_seqlens_q", "cu_seqlens_k", "cu_seqlens_k_new", "seqused_q", "seqused_k", "cache_seqlens")
LONGEST = ("max_seqlen", "max_seqlen_q", "max_seqlen_k")
CACHE = (
    "cache_batch_idx",
    "cache_leftpad",
    "block_table",
    "page_table",
    "rotary_cos",
    "rotary_sin",
    "rotary_interleaved",
)
HOW = ("deterministic", "num_splits", "pack_gqa", "sm_margin", "scheduler_metadata", "return_attn_probs")
UNDERSTOOD = frozenset((*TENSORS, *RULES, *LENGTHS, *LONGEST, *CACHE, *HOW, "return_softmax_lse"))
BOTTOM_RIGHT_SINCE = (2, 1)

Given = Mapping[str, Any]


@dataclass(frozen=True)
class Heads:
    """The tensors of one call.

    Attributes:
        q: ``(B, Hq, Sq, D)``.
        k: ``(B, Hkv, Sk, D)``.
        v: ``(B, Hkv, Sk, Dv)``.
        output: ``(B, Hq, Sq, Dv)``.
        queries: the sequences of the queries where they may have several lengths, else None.
        keys: likewise, of the keys; None where there is none of the queries.
    """

    q: Tensor
    k: Tensor
    v: Tensor
    output: Tensor
    queries: Sequences | None = None
    keys: Sequences | None = None


def translate(module: str, name: str, args: Args, kwargs: Kwargs, result: Any) -> RawCall:
    """One call of flash-attn's function ``name``, which ``module`` holds.

    Raises:
        PassedOver: it was given an option that is not understood, such as float8 scales.
    """
    given = arguments(module, name, args, kwargs, UNDERSTOOD)
    heads = READERS[name](given, output_of(result))
    align = _alignment(module)
    causal, dropout = bool(given["causal"]), float(given.get("dropout_p", 0.0))
    call = RawCall(
        q=heads.q,
        k=heads.k,
        v=heads.v,
        bias=_alibi(heads, given.get("alibi_slopes"), align),
        causal=align if causal else None,
        window=_window(given.get("window_size")),
        scale=given["softmax_scale"],
        softcap=given.get("softcap") or None,
        dropout=dropout,
        output=None if dropout else heads.output,
    )
    if heads.queries is None or heads.keys is None:
        return call
    return with_lengths(call, heads.queries, heads.keys, align)


def _alignment(module: str) -> Align:
    """Causal order was aligned at the first key before 2.1."""
    version = str(getattr(sys.modules.get(module.split(".")[0]), "__version__", ""))
    numbers = re.match(r"(\d+)\.(\d+)", version)
    is_older = numbers is not None and tuple(map(int, numbers.groups())) < BOTTOM_RIGHT_SINCE
    return "top-left" if is_older and module == SECOND else "bottom-right"


def _window(given: Any) -> tuple[int, int] | None:
    """Any negative number, and None, is unlimited."""
    left, right = (-1 if side is None or side < 0 else int(side) for side in given or (-1, -1))
    return None if left == right == -1 else (left, right)


def _alibi(heads: Heads, slopes: Tensor | None, align: Align) -> Tensor | None:
    """−slope·|p − j|, p being the query's aligned place: ``(B or 1, Hq, Sq, Sk)``, or None without slopes."""
    if slopes is None:
        return None
    queries, keys = heads.q.shape[2], heads.k.shape[2]
    if heads.queries is None or heads.keys is None:
        places = torch.arange(queries, device=slopes.device)[None]  # (1, Sq)
        places = places + (keys - queries if align == "bottom-right" else 0)
    else:
        places = places_of(heads.queries, heads.keys, align)  # (B, Sq)
    slopes = slopes.reshape(-1, heads.q.shape[1])  # (B or 1, Hq)
    batch = max(len(places), len(slopes))
    refuse_bytes(batch * slopes.shape[1] * queries * keys, slopes.dtype, "an ALiBi bias")
    distance = (places[:, None, :, None] - torch.arange(keys, device=slopes.device)).abs()  # (B or 1, 1, Sq, Sk)
    return -slopes[..., None, None] * distance


def _dense(q: Tensor, k: Tensor, v: Tensor, output: Tensor) -> Heads:
    """From ``(B, S, H, D)``."""
    q, k, v, output = (x.transpose(1, 2) for x in (q, k, v, output))  # (B, H, S, D)
    return Heads(q, k, v, output)


def _ragged(q: Tensor, k: Tensor, v: Tensor, output: Tensor, queries: Sequences, keys: Sequences) -> Heads:
    """From ``(total, H, D)``."""
    return Heads(queries.padded(q), keys.padded(k), keys.padded(v), queries.padded(output), queries, keys)


def _with_values(q: Tensor, k: Tensor, v: Tensor, qv: Tensor | None) -> tuple[Tensor, Tensor]:
    """Q and K; where a second query meets the values, q·k + qv·v is the product of both behind one another."""
    return (q, k) if qv is None else (torch.cat((q, qv), dim=-1), torch.cat((k, v), dim=-1))


def _from_three(given: Given, output: Tensor) -> Heads:
    q, k = _with_values(given["q"], given["k"], given["v"], given.get("qv"))
    return _dense(q, k, given["v"], output)


def _from_qkv(given: Given, output: Tensor) -> Heads:
    qkv = given["qkv"]
    if qkv.dim() == 5:  # (B, S, 3, H, D)
        q, k, v = qkv.unbind(2)
        return _dense(q, k, v, output)
    num_heads = given["num_heads_q"]  # (B, S, Hq + 2·Hkv, D)
    kv_heads = (qkv.shape[2] - num_heads) // 2
    q, k, v = qkv.split([num_heads, kv_heads, kv_heads], dim=2)
    return _dense(q, k, v, output)


def _from_kv(given: Given, output: Tensor) -> Heads:
    k, v = given["kv"].unbind(2)  # (B, S, 2, Hkv, D)
    return _dense(given["q"], k, v, output)


def _from_ragged_qkv(given: Given, output: Tensor) -> Heads:
    sequences = Sequences.between(given["cu_seqlens"])
    q, k, v = given["qkv"].unbind(1)  # (total, 3, H, D)
    return _ragged(q, k, v, output, sequences, sequences)


def _from_ragged_kv(given: Given, output: Tensor) -> Heads:
    queries, keys = (Sequences.between(given[name]) for name in ("cu_seqlens_q", "cu_seqlens_k"))
    k, v = given["kv"].unbind(1)  # (total, 2, Hkv, D)
    return _ragged(given["q"], k, v, output, queries, keys)


def _from_ragged(given: Given, output: Tensor) -> Heads:
    bounds, used = given["cu_seqlens_k"], given.get("seqused_k")
    if bounds is None or given["cu_seqlens_q"] is None:
        raise PassedOver("flash_attn_varlen_func without cumulative lengths")
    queries = Sequences.between(given["cu_seqlens_q"], given.get("seqused_q"))
    k, v, table = given["k"], given["v"], given.get("block_table")
    if table is None:
        keys = Sequences.between(bounds, used)
    else:
        lens = bounds.diff() if used is None else used
        keys = Sequences.starting_at(torch.zeros_like(lens), lens).in_pages(table, k.shape[1])
        k, v = k.flatten(0, 1), v.flatten(0, 1)  # (pages · rows of a page, Hkv, D)
    q, k = _with_values(given["q"], k, v, given.get("qv"))
    return _ragged(q, k, v, output, queries, keys)


def _from_cache(given: Given, output: Tensor) -> Heads:
    bounds = given.get("cu_seqlens_q")
    if bounds is not None:  # (total, H, D)
        queries, q = Sequences.between(bounds), given["q"]
    else:
        batch, length = given["q"].shape[:2]
        starts = torch.arange(batch, device=output.device) * length
        queries = Sequences.starting_at(starts, torch.full_like(starts, length))
        q, output = given["q"].flatten(0, 1), output.flatten(0, 1)
    is_placed = bool(given["causal"]) or _window(given["window_size"]) is not None
    if given.get("rotary_cos") is not None:
        q = rotated(q, queries, given, is_placed)
    k, v, keys = cached(given, queries)
    q, k = _with_values(q, k, v, _rows(given.get("qv"), q))
    return _ragged(q, k, v, output, queries, keys)


def _rows(qv: Tensor | None, q: Tensor) -> Tensor | None:
    return None if qv is None else qv.reshape(len(q), *qv.shape[-2:])


READERS: Mapping[str, Callable[[Given, Tensor], Heads]] = {
    "flash_attn_func": _from_three,
    "flash_attn_qkvpacked_func": _from_qkv,
    "flash_attn_kvpacked_func": _from_kv,
    "flash_attn_varlen_func": _from_ragged,
    "flash_attn_varlen_qkvpacked_func": _from_ragged_qkv,
    "flash_attn_varlen_kvpacked_func": _from_ragged_kv,
    "flash_attn_with_kvcache": _from_cache,
}


def _points(module: str) -> tuple[Point, ...]:
    return tuple(Point(module, name, name, functools.partial(translate, module, name)) for name in READERS)


POINTS = (*_points(SECOND), *_points(THIRD))
