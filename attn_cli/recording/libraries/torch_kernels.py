"""The kernels that compiled code calls in the place of PyTorch's attention functions, as operators of ATen.

``torch.compile`` and ``torch.export`` leave ``torch.ops.aten._scaled_dot_product_*`` in their programs, called from
Python; a program may call them itself. What compilers break up into smaller operations instead cannot be seen.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import Tensor

from attn_cli.recording.libraries import torch_multi_head, torch_sdpa
from attn_cli.recording.libraries.aten import by_name
from attn_cli.recording.libraries.base import Args, Kwargs, PassedOver, Point
from attn_cli.recording.libraries.torch_sdpa import Given, raw_call
from attn_cli.recording.types import Align, RawCall

HEADS_FIRST = (  # (B, H, S, D)
    "_scaled_dot_product_flash_attention_for_cpu",
    "_scaled_dot_product_flash_attention",
    "_scaled_dot_product_efficient_attention",
    "_scaled_dot_product_cudnn_attention",
    "_scaled_dot_product_fused_attention_overrideable",
    "_scaled_dot_product_attention_math",
    "_scaled_dot_product_attention_math_for_mps",
)
HEADS_LAST = ("_flash_attention_forward", "_efficient_attention_forward")  # (B, S, H, D)
# FlashAttention ≥ 2.1 aligns causal order at the last key; PyTorch itself calls it so only where Sq = Sk.
BOTTOM_RIGHT = ("_scaled_dot_product_flash_attention", "_flash_attention_forward")
MASK_TYPES: tuple[Align | None, ...] = (None, "top-left", "bottom-right")  # of the efficient kernel's custom_mask_type
NOT_UNDERSTOOD = ("alibi_slopes", "block_table", "seqused_k", "seqlen_k", "window_size")


def translate_heads_first(kernel: str, args: Args, kwargs: Kwargs, result: Any) -> RawCall:
    """One call of a kernel on ``(B, H, S, D)``."""
    given = by_name(kernel, args, kwargs)
    return raw_call(_understood(kernel, given), result[0].detach())


def translate_heads_last(kernel: str, args: Args, kwargs: Kwargs, result: Any) -> RawCall:
    """One call of a kernel on ``(B, S, H, D)``.

    Raises:
        PassedOver: sequences of several lengths in one, or a rule that is not known here.
    """
    given = by_name(kernel, args, kwargs)
    if any(given.get(name) is not None for name in ("cum_seq_q", "cum_seq_k", "cu_seqlens_q", "cu_seqlens_k")):
        raise PassedOver("packed sequences in PyTorch's own kernels")
    for name in NOT_UNDERSTOOD:
        if given.get(name) is not None:
            raise PassedOver(f"{kernel} with {name}")
    if any((given.get(name) or -1) >= 0 for name in ("window_size_left", "window_size_right")):
        raise PassedOver(f"{kernel} with a window")
    turned = {name: given[name].transpose(1, 2) for name in ("query", "key", "value")}  # (B, H, S, D)
    return raw_call(_understood(kernel, {**given, **turned}), result[0].detach().transpose(1, 2))


def _understood(kernel: str, given: Mapping[str, Any]) -> Given:
    mask = next((given[name] for name in ("attn_mask", "attn_bias", "bias") if given.get(name) is not None), None)
    q, k, v = (given[name].detach() for name in ("query", "key", "value"))
    return Given(
        heads=(q, k, v),
        mask=mask.detach() if isinstance(mask, Tensor) else None,
        causal=_causal(kernel, given),
        dropout=given.get("dropout_p") or 0.0,
        scale=given.get("scale"),
        gqa=q.shape[-3] != k.shape[-3],
    )


def _causal(kernel: str, given: Mapping[str, Any]) -> Align | None:
    if "custom_mask_type" in given:
        return MASK_TYPES[int(given["custom_mask_type"])]
    if not given.get("is_causal"):
        return None
    return "bottom-right" if kernel in BOTTOM_RIGHT else "top-left"


def _points(kernel: str, translate: Callable[[Args, Kwargs, Any], RawCall], below: str = "") -> tuple[Point, ...]:
    """An operator is called as ``torch.ops.aten.<kernel>`` or by its overload, each of which holds its function."""
    holder = f"torch.ops.aten.{kernel}"
    return tuple(Point(module, "_op", kernel, translate, below=below) for module in (holder, f"{holder}.default"))


def _own_points(kernel: str, translate: Callable[[Args, Kwargs, Any], RawCall]) -> tuple[Point, ...]:
    """A kernel that ``torch`` offers as a function of its own too."""
    return (Point("torch", kernel, kernel, translate), *_points(kernel, translate))


def _kernels() -> Iterator[Point]:
    for kernel in HEADS_FIRST:
        yield from _own_points(kernel, functools.partial(translate_heads_first, kernel))
    for kernel in HEADS_LAST:
        yield from _own_points(kernel, functools.partial(translate_heads_last, kernel))
    yield from _points(torch_sdpa.NAME, torch_sdpa.translate)
    yield from _points(torch_multi_head.NATIVE, torch_multi_head.translate_native)
    yield from _points(torch_multi_head.LAYER, torch_multi_head.translate_layer, below="self_attn")


POINTS = tuple(_kernels())
