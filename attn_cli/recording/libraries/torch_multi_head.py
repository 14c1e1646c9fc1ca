"""Multi-head attention as PyTorch's modules call it: with weights, and by the fast paths of inference.

All three project their inputs themselves; the heads are projected here once more, with the same weights. In their masks
True means hidden.
"""

from __future__ import annotations

import functools
import inspect
import math
import sys
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from attn_cli.recording.libraries.aten import by_name
from attn_cli.recording.libraries.base import Args, Kwargs, Point
from attn_cli.recording.types import RawCall

FORWARD = "multi_head_attention_forward"
NATIVE = "_native_multi_head_attention"
LAYER = "_transformer_encoder_layer_fwd"


def hears_forward(args: Args, kwargs: Kwargs) -> bool:
    """True where weights are asked for; else the function calls ``scaled_dot_product_attention``, which is heard."""
    return bool(_forward_arguments(args, kwargs)["need_weights"])


def translate_forward(args: Args, kwargs: Kwargs, result: Any) -> RawCall:
    """One call of ``torch.nn.functional.multi_head_attention_forward`` that gave weights."""
    given = _forward_arguments(args, kwargs)
    output, weights = result
    given = {name: _rounded(value, output.dtype) for name, value in given.items()}
    is_batched = given["query"].dim() == 3
    if not is_batched:
        given |= {name: given[name].unsqueeze(1) for name in ("query", "key", "value")}  # (S, 1, E)
    q, k, v = _heads_of_forward(given)
    hidden, padding = _masks_of_forward(given, q, k)
    dropout = float(given["dropout_p"]) if given["training"] else 0.0
    call = _with_masks(RawCall(q=q, k=k, v=v, dropout=dropout), hidden, padding)
    if dropout or given["average_attn_weights"]:
        return call
    return replace(call, weights=weights.detach().reshape(*q.shape[:3], k.shape[2]))


def translate_native(args: Args, kwargs: Kwargs, result: Any) -> RawCall:
    """One call of ``torch._native_multi_head_attention``, the fast path of ``nn.MultiheadAttention``."""
    given = by_name(NATIVE, args, kwargs)
    lengths = _lengths(given["query"])
    inputs = [_padded(given[name]) for name in ("query", "key", "value")]
    heads = _packed(inputs, given["qkv_weight"], given["qkv_bias"], given["num_head"])
    call = _hidden_by_type(heads, given.get("mask"), given.get("mask_type"), lengths)
    is_whole = given.get("need_weights", True) and not given.get("average_attn_weights", True)
    weights = result[1].detach() if is_whole and lengths is None else None
    return replace(call, weights=weights)


def translate_layer(args: Args, kwargs: Kwargs, _result: Any) -> RawCall:
    """One call of ``torch._transformer_encoder_layer_fwd``, the fast path of ``nn.TransformerEncoderLayer``."""
    given = by_name(LAYER, args, kwargs)
    lengths, src = _lengths(given["src"]), _padded(given["src"])
    if given["norm_first"]:
        src = F.layer_norm(src, src.shape[-1:], given["norm_weight_1"], given["norm_bias_1"], given["eps"])
    heads = _packed([src] * 3, given["qkv_weight"], given["qkv_bias"], given["num_heads"])
    return _hidden_by_type(heads, given.get("mask"), given.get("mask_type"), lengths)


@functools.cache
def _forward_signature() -> inspect.Signature:
    return inspect.signature(getattr(sys.modules["torch.nn.functional"], FORWARD))


def _forward_arguments(args: Args, kwargs: Kwargs) -> dict[str, Any]:
    bound = _forward_signature().bind(*args, **kwargs)
    bound.apply_defaults()
    return dict(bound.arguments)


def _rounded(value: Any, dtype: torch.dtype) -> Any:
    """Floating tensors in the dtype that was computed in, which under autocast is that of the output."""
    if not isinstance(value, Tensor):
        return value
    return value.detach().to(dtype) if value.is_floating_point() else value.detach()


def _heads_of_forward(given: dict[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
    num_heads, batch = given["num_heads"], given["query"].shape[1]
    q, k, v = (F.linear(given[name], *_projection(given, name)) for name in ("query", "key", "value"))  # (S, B, E)
    if given["bias_k"] is not None:
        k, v = (torch.cat([x, b.expand(1, batch, -1)]) for x, b in ((k, given["bias_k"]), (v, given["bias_v"])))
    q, k, v = (x.reshape(*x.shape[:2], num_heads, -1).permute(1, 2, 0, 3) for x in (q, k, v))  # (B, H, S, D)
    k, v = (_static(given[name], x) for name, x in (("static_k", k), ("static_v", v)))
    if given["add_zero_attn"]:
        k, v = (F.pad(x, (0, 0, 0, 1)) for x in (k, v))
    return q, k, v


def _projection(given: dict[str, Any], name: str) -> tuple[Tensor, Tensor | None]:
    place = ("query", "key", "value").index(name)
    bias = given["in_proj_bias"]
    own = (
        given[f"{name[0]}_proj_weight"]
        if given["use_separate_proj_weight"]
        else given["in_proj_weight"].chunk(3)[place]
    )
    return own, None if bias is None else bias.chunk(3)[place]


def _static(static: Tensor | None, x: Tensor) -> Tensor:
    return x if static is None else static.reshape(*x.shape[:2], *static.shape[-2:])


def _masks_of_forward(given: dict[str, Any], q: Tensor, k: Tensor) -> tuple[Tensor | None, Tensor | None]:
    """``attn_mask`` of two or four axes and ``key_padding_mask`` ``(B, 1, 1, Sk)``; added keys are hidden to none."""
    mask, padding = given["attn_mask"], given["key_padding_mask"]
    if mask is not None:
        mask = _for_added_keys(mask, k)
        mask = mask if mask.dim() == 2 else mask.reshape(*q.shape[:2], *mask.shape[-2:])
    if padding is not None:
        padding = _for_added_keys(padding.reshape(q.shape[0], -1), k)[:, None, None]
    return mask, padding


def _for_added_keys(mask: Tensor, k: Tensor) -> Tensor:
    return F.pad(mask, (0, k.shape[2] - mask.shape[-1]))


def _with_masks(call: RawCall, *masks: Tensor | None) -> RawCall:
    """The call with masks in which True, or −∞, is hidden; other numbers are added to the logits."""
    given = [mask for mask in masks if mask is not None]
    keeps = [keep for keep in map(_keep, given) if keep is not None]
    added = [mask for mask in given if _keep(mask) is None]
    keep = functools.reduce(torch.logical_and, keeps) if keeps else None
    bias = functools.reduce(torch.add, added) if added else None
    return replace(call, mask=keep, bias=bias) if keeps else replace(call, mask=bias)


def _keep(mask: Tensor) -> Tensor | None:
    """True = may attend, or None where the mask holds numbers to add."""
    if mask.dtype == torch.bool:
        return ~mask
    keep = mask == 0
    return keep if bool((keep | (mask == -math.inf)).all()) else None


def _packed(inputs: list[Tensor], weight: Tensor, bias: Tensor | None, num_heads: int) -> tuple[Tensor, Tensor, Tensor]:
    weights, biases = weight.chunk(3), (None,) * 3 if bias is None else bias.chunk(3)
    projected = (F.linear(x.detach(), w, b) for x, w, b in zip(inputs, weights, biases, strict=True))  # (B, S, E)
    q, k, v = (x.reshape(*x.shape[:2], num_heads, -1).transpose(1, 2).detach() for x in projected)  # (B, H, S, D)
    return q, k, v


def _hidden_by_type(
    heads: tuple[Tensor, Tensor, Tensor], mask: Tensor | None, mask_type: int | None, lengths: Tensor | None
) -> RawCall:
    """The fast paths take a mask as bool, True is hidden: (S, S), with type 1 (B, S), with type 2 (B, H, S, S)."""
    q, k, v = heads
    if mask is not None:
        mask = mask.detach().to(torch.bool).logical_not()
        mask = mask[:, None, None] if mask_type == 1 else mask
    return RawCall(q=q, k=k, v=v, mask=mask, valid_lens=lengths)


def _lengths(x: Tensor) -> Tensor | None:
    """``(B,)`` how many rows each item of a nested tensor has."""
    return torch.tensor([len(item) for item in x.unbind()], device=x.device) if x.is_nested else None


def _padded(x: Tensor) -> Tensor:
    """``(B, S, E)``, a nested tensor's shorter items with zeros behind them."""
    return torch.nested.to_padded_tensor(x.detach(), 0.0) if x.is_nested else x.detach()


POINTS = (
    Point("torch.nn.functional", FORWARD, FORWARD, translate_forward, hears_forward),
    Point("torch", NATIVE, NATIVE, translate_native),
    Point("torch", LAYER, LAYER, translate_layer, below="self_attn"),
)
