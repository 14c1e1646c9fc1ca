"""A call as a library was given it, made into what is kept: checked, small, of the heads and in the dtype asked for."""

from __future__ import annotations

import functools
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor

from attn_cli.attention.selection import Selection, select
from attn_cli.attention.types import AttentionInputs, CallIndex, Rules, dtype_name
from attn_cli.inputs.tokenizer import Tokenizer
from attn_cli.recording.groups import shared_heads
from attn_cli.recording.libraries.base import PassedOver
from attn_cli.recording.masks.small import small_mask
from attn_cli.recording.options import RecordOptions
from attn_cli.recording.types import CallSite, CaughtCall, RawCall

DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
QUERY_AXES, KEY_AXES = ("batch", "heads", "queries", "features"), ("batch", "heads", "keys", "features")


def make_caught(
    raw: RawCall, number: int, site: CallSite, options: RecordOptions, token_ids: Tensor | None = None
) -> CaughtCall:
    """What is to be kept of one call. Nothing that belongs to the program is copied or changed without need.

    Args:
        raw: the call.
        number: of the call among all that the program makes.
        site: where it was made.
        options: the heads to keep, of which a call may have only some; the dtype of Q, K, V, the output and the
            weights; the tokenizer.
        token_ids: ``(B, Sk)`` whole numbers, or None.

    Raises:
        PassedOver: where the call cannot be recorded.
        UsageError, InputError: where the tokenizer cannot be used.
    """
    raw = _detached(raw)
    _check(raw)
    k, v = shared_heads(raw.k, raw.v)
    small = small_mask(raw)
    batch, heads, queries, _ = raw.q.shape
    inputs = AttentionInputs(
        q=raw.q,
        k=k,
        v=v,
        rules=Rules(
            small.rule(queries, k.shape[2], raw.q.device),
            scale=raw.scale,
            softcap=raw.softcap,
            bias=small.bias,
            sinks=raw.sinks,
        ),
        index=CallIndex.whole(batch, heads, queries),
        token_ids=None if token_ids is None else token_ids.to(torch.int64),
    )
    kept = _kept_heads(heads, options)
    return CaughtCall(
        number,
        site,
        _as_dtype(select(inputs, Selection(heads=kept)), options.dtype),
        small.align,
        raw.dropout,
        output=_result(raw.output, kept, options.dtype),
        weights=_result(raw.weights, kept, options.dtype),
        tokens=_texts(options.tokenizer, token_ids),
    )


def _detached(raw: RawCall) -> RawCall:
    """The same without the program's graph; the tensors keep their memory, but for those that are seen negated."""
    given = {field.name: getattr(raw, field.name) for field in fields(RawCall)}
    tensors: dict[str, Any] = {name: x.detach().resolve_neg() for name, x in given.items() if isinstance(x, Tensor)}
    return replace(raw, **tensors)


def _check(raw: RawCall) -> None:
    """Refuse what attn cannot inspect.

    Raises:
        PassedOver: with the reason.
    """
    for name, x, axes in (("q", raw.q, QUERY_AXES), ("k", raw.k, KEY_AXES), ("v", raw.v, KEY_AXES)):
        if x.layout != torch.strided or x.is_nested:
            raise PassedOver(f"{name} is a nested or a sparse tensor")
        if x.is_meta:
            raise PassedOver(f"{name} has no numbers")
        if x.dtype not in DTYPES:
            raise PassedOver(f"{name} is {dtype_name(x.dtype)}")
        if x.dim() != 4:
            raise PassedOver(f"{name} has {x.dim()} axes")
        if 0 in x.shape:
            raise PassedOver(f"{name} has no {axes[x.shape.index(0)]}")
    fits = raw.k.shape[:3] == raw.v.shape[:3] and raw.q.shape[0] == raw.k.shape[0] and raw.q.shape[3] == raw.k.shape[3]
    if not fits:
        raise PassedOver("q, k and v differ in batch, keys or features")
    if raw.q.shape[1] % raw.k.shape[1]:
        raise PassedOver("query heads that are no multiple of the key/value heads")


def _kept_heads(heads: int, options: RecordOptions) -> tuple[int, ...] | None:
    """Those of the heads asked for that the call has; None where that is all."""
    if options.heads is None:
        return None
    kept = tuple(head for head in options.heads if 0 <= head < heads)
    if not kept:
        raise PassedOver(f"none of the heads asked for, of {heads}")
    return None if kept == tuple(range(heads)) else kept


def _as_dtype(inputs: AttentionInputs, dtype: str | None) -> AttentionInputs:
    """Q, K and V in another dtype; bias and sinks keep theirs, for rounding them would change the mask."""
    if dtype is None:
        return inputs
    q, k, v = (x.to(getattr(torch, dtype)) for x in (inputs.q, inputs.k, inputs.v))
    return replace(inputs, q=q, k=k, v=v)


def _result(x: Tensor | None, heads: tuple[int, ...] | None, dtype: str | None) -> Tensor | None:
    """The output or the weights of the kept heads."""
    if x is None:
        return None
    kept = x if heads is None else x.index_select(1, torch.tensor(heads, device=x.device))
    return kept if dtype is None else kept.to(getattr(torch, dtype))


@functools.cache
def _tokenizer(path: str) -> Tokenizer:
    return Tokenizer.load(path)


def _texts(path: str | None, token_ids: Tensor | None) -> tuple[tuple[str, ...], ...] | None:
    return None if path is None or token_ids is None else _tokenizer(path).texts(token_ids)
