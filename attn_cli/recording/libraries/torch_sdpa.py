"""``torch.nn.functional.scaled_dot_product_attention``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from attn_cli.recording.libraries.base import Args, Kwargs, PassedOver, Point
from attn_cli.recording.types import Align, RawCall

NAME = "scaled_dot_product_attention"


def translate(args: Args, kwargs: Kwargs, result: Any) -> RawCall:
    """One call; its arguments are those of the function.

    Under autocast the function computes in the dtype that it returns: the tensors are rounded as it rounds them.

    Raises:
        PassedOver: nested tensors.
    """
    given = _given(*args, **kwargs)
    if any(tensor.is_nested for tensor in (*given.heads, result)):
        raise PassedOver("nested tensors")
    return raw_call(given, result.detach())


@dataclass(frozen=True)
class Given:
    """What the function was given, by name; tensors without their gradients' graph.

    Attributes:
        heads: query, key and value, in the function's own axes.
        mask: bool (True = may attend), float, or None.
        gqa: True where several query heads read one key/value head.
    """

    heads: tuple[Tensor, Tensor, Tensor]
    mask: Tensor | None = None
    causal: Align | None = None
    dropout: float = 0.0
    scale: float | None = None
    gqa: bool = False


def raw_call(given: Given, output: Tensor) -> RawCall:
    """The call with four axes, in the dtype of its output."""
    q, k, v = (tensor.to(output.dtype) for tensor in given.heads)
    mask = given.mask
    if mask is not None and mask.is_floating_point():
        mask = mask.to(output.dtype)
    q, k, v, mask = _with_four_axes(q, k, v, mask, given.gqa)
    return RawCall(
        q=q,
        k=k,
        v=v,
        mask=mask,
        causal=given.causal,
        scale=None if given.scale is None else float(given.scale),
        dropout=float(given.dropout),
        output=None if given.dropout else output.reshape(*q.shape[:-1], v.shape[-1]),
    )


def _given(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Given:
    causal: Align | None = "top-left" if is_causal else None
    if is_causal_bias(attn_mask):
        causal, attn_mask = _order_of(attn_mask), None
    mask = None if attn_mask is None else attn_mask.detach()
    return Given((query.detach(), key.detach(), value.detach()), mask, causal, dropout_p, scale, enable_gqa)


def is_causal_bias(mask: Tensor | None) -> bool:
    """True for ``torch.nn.attention.bias.CausalBias``, which says causal order and holds no numbers."""
    return type(mask).__name__ == "CausalBias" and hasattr(mask, "variant")


def _order_of(bias: Any) -> Align:
    return "top-left" if bias.variant.name == "UPPER_LEFT" else "bottom-right"


def _with_four_axes(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, gqa: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    rank = max(tensor.dim() for tensor in (q, k, v, mask) if tensor is not None)
    if rank == 3 and not gqa:  # (N, S, D): a batch of calls with one head
        q, k, v = (_of_rank(tensor, 3).unsqueeze(1) for tensor in (q, k, v))  # (N, 1, S, D)
        mask = mask.unsqueeze(1) if mask is not None and mask.dim() == 3 else mask
    rank = max(rank, 4)
    q, k, v = (_of_rank(tensor, rank) for tensor in (q, k, v))
    q, k, v = _with_one_batch(q, k, v) if gqa else _with_one_batch(*_with_one_head_count(q, k, v))
    mask = _mask_of(mask, q)
    q, k, v = (tensor.reshape(-1, *tensor.shape[-3:]) for tensor in (q, k, v))
    return q, k, v, mask


def _of_rank(tensor: Tensor, rank: int) -> Tensor:
    return tensor.reshape((1,) * (rank - tensor.dim()) + tuple(tensor.shape))


def _with_one_head_count(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Heads that broadcast; keys and values of a single head stay one, which all query heads read."""
    own = max(k.shape[-3], v.shape[-3])
    q = q.expand(*q.shape[:-3], max(q.shape[-3], own), -1, -1)
    k, v = (tensor.expand(*tensor.shape[:-3], own, -1, -1) for tensor in (k, v))
    return q, k, v


def _with_one_batch(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    batch = [max(sizes) for sizes in zip(*(tensor.shape[:-3] for tensor in (q, k, v)), strict=True)]
    q, k, v = (tensor.expand(*batch, -1, -1, -1) for tensor in (q, k, v))
    return q, k, v


def _mask_of(mask: Tensor | None, q: Tensor) -> Tensor | None:
    """The mask of ``q`` ``(…, Hq, Sq, D)``, its leading axes as one."""
    if mask is None or mask.dim() < 2:
        return None if mask is None else mask.reshape(1, -1)
    if mask.dim() <= 3 or (mask.dim() == 4 and q.dim() == 4):
        return mask
    own = mask.shape[-3:]
    if all(size == 1 for size in mask.shape[:-3]):
        return mask.reshape(1, *own)
    return mask.expand(*q.shape[:-3], *own).reshape(-1, *own)


POINTS = (
    Point("torch.nn.functional", NAME, NAME, translate),
    Point("torch._C._nn", NAME, NAME, translate),
)
