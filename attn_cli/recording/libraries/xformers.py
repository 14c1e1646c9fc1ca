"""xFormers' ``memory_efficient_attention`` (Rabe & Staats 2021, arXiv 2112.05682) and its forward-only sisters."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from attn_cli.recording.libraries.arguments import arguments, detached, output_of
from attn_cli.recording.libraries.base import Args, Kwargs, PassedOver, Point
from attn_cli.recording.libraries.small_axes import refuse_bytes
from attn_cli.recording.masks.cells import narrowed
from attn_cli.recording.types import RawCall

MODULE = "xformers.ops.fmha"
NAMES = (
    "memory_efficient_attention",
    "memory_efficient_attention_forward",
    "memory_efficient_attention_forward_requires_grad",
)
UNDERSTOOD = frozenset(["query", "key", "value", "attn_bias", "p", "scale", "op", "output_dtype"])


def translate(name: str, args: Args, kwargs: Kwargs, result: Any) -> RawCall:
    """One call of xFormers' function ``name``.

    Raises:
        PassedOver: the keys are quantized, or the attn_bias is of a kind that cannot be written out.
    """
    given = arguments(MODULE, name, args, kwargs, UNDERSTOOD)
    query, key, value = (given[name] for name in ("query", "key", "value"))
    if not key.is_floating_point() or not value.is_floating_point():
        raise PassedOver("quantized keys and values")
    q, (k, v) = _all_heads(query), _shared_heads(key, value)
    dropout = float(given["p"])
    output = output_of(result).reshape(*query.shape[:-1], value.shape[-1])
    scale = given["scale"]
    call = RawCall(
        q=q,
        k=k,
        v=v,
        scale=None if scale is None else float(scale),
        dropout=dropout,
        output=None if dropout else _all_heads(output),
    )
    return _with_bias(call, given["attn_bias"], query)


def _all_heads(x: Tensor) -> Tensor:
    """``(B, S, D)``, ``(B, S, H, D)`` or ``(B, S, groups, heads of a group, D)`` as ``(B, H, S, D)``."""
    if x.dim() == 3:
        return x[:, None]
    return (x if x.dim() == 4 else x.flatten(2, 3)).transpose(1, 2)


def _shared_heads(key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """Keys and values as ``(B, Hkv, S, D)``: where all heads of a group share one, it is there once."""
    if key.dim() == 5 and key.stride(3) == value.stride(3) == 0:
        key, value = key[:, :, :, 0], value[:, :, :, 0]  # (B, S, groups, D)
    return _all_heads(key), _all_heads(value)


def _with_bias(call: RawCall, bias: Any, query: Tensor) -> RawCall:
    """The call under its attn_bias; mask objects are known by their class, for newer ones are tensors as well."""
    kind = type(bias).__name__
    if bias is None:
        return call
    if kind == "LowerTriangularMask":
        return replace(call, causal="top-left")
    if kind == "LowerTriangularFromBottomRightMask":
        return replace(call, causal="bottom-right")
    if kind == "LowerTriangularFromBottomRightLocalAttentionMask":
        return replace(call, causal="bottom-right", window=(int(bias._window_size) - 1, -1))
    if kind == "LocalAttentionFromBottomRightMask":
        return replace(call, window=(int(bias.window_left), int(bias.window_right)))
    if kind == "LowerTriangularMaskWithTensorBias" and isinstance(_added(bias), Tensor):
        return replace(call, causal="top-left", bias=_four_axes(detached(_added(bias)), query))
    if hasattr(bias, "materialize"):
        return replace(call, mask=_written_out(bias, call))
    if isinstance(bias, Tensor):
        return replace(call, mask=_four_axes(detached(bias), query))
    raise PassedOver(f"an attn_bias of class {kind}")


def _added(bias: Any) -> Any:
    """The tensor of a ``LowerTriangularMaskWithTensorBias``, by its newer or its older name."""
    return getattr(bias, "_subtensor", getattr(bias, "_bias", None))


def _four_axes(bias: Tensor, query: Tensor) -> Tensor:
    """A bias as given, which broadcasts to ``(B, H, Sq, Sk)`` once its batch, groups and heads are told apart."""
    if bias.dtype == torch.bool:
        raise PassedOver("an attn_bias of bool")
    heads = query.shape[2:-1].numel()
    if bias.dim() == 5:  # (B, groups, heads of a group, Sq, Sk)
        bias = bias.expand(-1, *query.shape[2:4], -1, -1).flatten(1, 2)
    elif bias.dim() == 3 and query.dim() == 3:
        bias = bias[:, None]  # (B, 1, Sq, Sk)
    elif bias.dim() == 3 and len(bias) == query.shape[0] * heads > heads:
        bias = bias.reshape(query.shape[0], heads, *bias.shape[1:])
    return narrowed(bias, (0, 1)) if bias.dim() == 4 else bias


def _written_out(bias: Any, call: RawCall) -> Tensor:
    """What a mask object of xFormers adds to the logits, ``(B or 1, Hq or 1, Sq, Sk)``."""
    batch, heads, queries, keys = call.q.shape[:3] + call.k.shape[2:3]
    own = type(bias).__module__.split(".")[0] == "xformers"  # those do not depend on batch and head
    shape = (1, 1, queries, keys) if own else (batch, heads, queries, keys)
    dtype = torch.float64 if call.q.dtype == torch.float64 else torch.float32
    refuse_bytes(torch.Size(shape).numel(), dtype, "an attn_bias")
    try:
        written = bias.materialize(shape, dtype=dtype, device=call.q.device)
    except Exception as error:  # whatever a mask object that was not meant for these shapes raises
        raise PassedOver(f"an attn_bias of class {type(bias).__name__}") from error
    if tuple(written.shape[-2:]) != shape[-2:] or written.dim() != 4:
        raise PassedOver(f"an attn_bias of class {type(bias).__name__}")
    return narrowed(detached(written), (0, 1))


def _is_mask(tensor: Tensor) -> bool:
    """Newer mask objects are tensors that refuse most operations."""
    return hasattr(tensor, "materialize")


POINTS = tuple(Point(MODULE, name, name, functools.partial(translate, name), understands=_is_mask) for name in NAMES)
