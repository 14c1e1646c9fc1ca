"""What rounding in a dtype explains, row by row."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from attn_cli.attention import torch_compat
from attn_cli.attention.textbook import Steps
from attn_cli.attention.types import AttentionInputs, accumulation_dtype
from attn_cli.benchmark.inputs import DTYPES, Drawn

ROUNDINGS = 8
LOGIT_ROUNDINGS = 256
BACKWARD_ROUNDINGS = 2


def explained(drawn: Drawn) -> float:
    """The share of a row's scale that its dtype explains: ``8·eps(dtype) + 256·eps(accumulation dtype)``.

    As for an inspection's own check: rounding the weights, their products and the output in the dtype, and the logits
    in the dtype that sums are formed in. A gradient passes through twice as many products and gets twice that. Where
    float32 products are allowed to be rounded further, their eps is that of the mode.
    """
    dtype, device = DTYPES[drawn.case.dtype], drawn.inputs.q.device
    eps = torch.finfo(dtype).eps
    if dtype == torch.float32:
        eps = torch_compat.float32_matmul_eps(device)
    share = ROUNDINGS * eps + LOGIT_ROUNDINGS * torch.finfo(accumulation_dtype(dtype)).eps
    return share if drawn.gradient is None else BACKWARD_ROUNDINGS * share


def least_allowed(drawn: Drawn, terms: int, partner: Tensor) -> float:
    """What is always allowed of a sum of so many terms, each a small factor times ``partner``.

    A factor is below the dtype's smallest number, or so small a weight that it is 0 beside the others of its row, which
    sum to 1: how much smaller is decided by the last bits of a large logit, and ``exp`` may flush it to 0.
    """
    dtype = DTYPES[drawn.case.dtype]
    info, sums = torch.finfo(dtype), torch.finfo(accumulation_dtype(dtype))
    least = max(info.smallest_normal * info.eps, sums.eps**2)
    return least * (1 + math.sqrt(terms) * float(partner.detach().abs().max()))


def weight_noise(steps: Steps, inputs: AttentionInputs, rows: slice) -> Tensor:
    """How far rounding moves each weight, in units of eps: ``(B, Hq, r, Sk)`` float32.

    The weight itself is rounded, w; and so is its logit, on its way from q and k, before and after the row's largest
    is taken off, which moves the weight by w·(1 − w) times that. A row that sees one key has no such error.
    """
    logits = steps.masked.float()
    is_seen = logits > -torch.inf
    peak = logits.amax(dim=-1, keepdim=True)  # (B, Hq, r, 1)
    typical = inputs.scale * typical_product(inputs.q[:, :, rows], inputs.k).float()  # (B, Hq, r, 1)
    moved = torch.where(is_seen, typical + logits.abs() + (peak - logits), 0.0)
    weights = steps.weights.float()
    return weights * torch.sqrt(1 + ((1 - weights) * moved).square_() / 2)


def typical_product(x: Tensor, ys: Tensor) -> Tensor:
    """About the root of the sum of the squares of a dot product's terms, for the longest of ``ys``: ``(…, r, 1)``.

    Rounding its terms moves a dot product by so many eps, however near to 0 the terms cancel.
    """
    longest: Tensor = torch.linalg.vector_norm(ys, dim=-1).amax()
    norms: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return norms * longest / math.sqrt(x.shape[-1])


def output_scale(output: Tensor, noise: Tensor, v: Tensor) -> Tensor:
    """What a row's errors are to be measured by: ``(B, Hq, r)`` float64.

    Errors of the weights are independent of each other, so those of their products with the values add up as the root
    of the sum of the squares. That stays where the values themselves cancel, and falls as the output does where a row
    sees many keys, so that a long row is not judged by a short one.

    Args:
        output: float64, ``(B, Hq, r, D)``.
        noise: :func:`weight_noise`.
        v: ``(B, 1, Sk, D)``.
    """
    squares = noise.square()  # (B, Hq, r, Sk)
    total = squares.sum(dim=-1, keepdim=True).double()
    spread = (squares @ v.float().square()).double() + total * output.square()  # (B, Hq, r, D)
    return torch.maximum(output.abs(), spread.sqrt()).amax(dim=-1)


def score_noise(noise: Tensor, weights: Tensor, products: Tensor, mean: Tensor, typical: Tensor) -> Tensor:
    """How far rounding moves the gradient of each logit, w·(dP − δ), in units of eps: as ``noise``, float32.

    Where a row sees one key, dP and δ are equal, and what is left is their rounding alone.

    Args:
        noise: :func:`weight_noise` of these weights.
        weights: w.
        products: dP, gradient of the output times values.
        mean: δ, the weighted mean of a row's dP, ``(…, r, 1)``.
        typical: :func:`typical_product` of the gradient of the output and the values, ``(…, r, 1)``.
    """
    apart = weights * (products.abs() + mean.abs() + typical)
    return apart.float() + noise * (products - mean).abs().float()
