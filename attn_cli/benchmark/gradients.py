"""Gradients of one key/value head in float64, of some query rows or of some keys, each with its scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from attn_cli.attention import textbook
from attn_cli.attention.textbook import Steps
from attn_cli.attention.types import AttentionInputs
from attn_cli.benchmark.rounding import score_noise, typical_product, weight_noise


@dataclass(frozen=True)
class Gradient:
    """A part of the gradient of Q, K or V.

    Attributes:
        values: ``(1, H, R, D)`` float64.
        scale: what each row's errors are to be measured by, ``(1, H, R)`` float64.
    """

    values: Tensor
    scale: Tensor


@dataclass(frozen=True)
class _Block:
    """A block of rows: P, its noise, and the chain rule's dP and dS = P∘(dP − rowsum(P∘dP)); ``(1, G, r, keys)``."""

    weights: Tensor
    scores: Tensor
    noise: Tensor
    score_noise: Tensor
    coherent: Tensor  # (1, G, r, 1): what rounding rowsum(P∘dP) does to all keys of a row alike


def query_gradient(inputs: AttentionInputs, incoming: Tensor, blocks: Sequence[slice]) -> Gradient:
    """dQ = scale·dS·K of every row of ``inputs``; a row depends on no other.

    Args:
        inputs: one key/value head with its query heads, float64: q ``(1, G, R, D)``, k and v ``(1, 1, Sk, D)``.
        incoming: gradient of the output, ``(1, G, R, D)`` float64.
        blocks: of rows.
    """
    values, scales = [], []
    squared = inputs.k.float().square()  # (1, 1, Sk, D)
    for rows in blocks:
        block = _block(inputs, incoming, rows, None)
        value = block.scores @ inputs.k  # (1, G, r, D)
        spread = (block.score_noise.square() @ squared).sqrt().double()
        alike = block.coherent * (block.weights @ inputs.k).abs()
        scale = torch.maximum(torch.maximum(value.abs(), spread), alike).amax(dim=-1)  # (1, G, r)
        values.append(inputs.scale * value)
        scales.append(inputs.scale * scale)
    return Gradient(torch.cat(values, dim=2), torch.cat(scales, dim=2))


def key_gradients(
    inputs: AttentionInputs, incoming: Tensor, blocks: Sequence[slice], keys: Tensor
) -> tuple[Gradient, Gradient]:
    """dK = scale·dSᵀ·Q and dV = Pᵀ·dO of these keys, in one pass over all rows, which each of them needs.

    Args:
        inputs: as for :func:`query_gradient`, with all query rows.
        incoming: as there.
        blocks: of rows.
        keys: ``(R,)`` int64.
    """
    shape = (1, 1, len(keys), inputs.k.shape[-1])
    dk, dv = (torch.zeros(shape, dtype=torch.float64, device=keys.device) for _ in range(2))
    noise_k, noise_v = torch.zeros_like(dk), torch.zeros_like(dv)
    for rows in blocks:
        block = _block(inputs, incoming, rows, keys)
        q, gradient = inputs.q[:, :, rows], incoming[:, :, rows]  # (1, G, r, D)
        dk += (block.scores.mT @ q).sum(dim=1, keepdim=True)
        dv += (block.weights.mT @ gradient).sum(dim=1, keepdim=True)
        noise_k += (block.score_noise.square().mT @ q.float().square()).sum(dim=1, keepdim=True)
        noise_v += (block.noise.square().mT @ gradient.float().square()).sum(dim=1, keepdim=True)
    scale_k = inputs.scale * torch.maximum(dk.abs(), noise_k.sqrt()).amax(dim=-1)  # (1, 1, R)
    scale_v = torch.maximum(dv.abs(), noise_v.sqrt()).amax(dim=-1)
    return Gradient(inputs.scale * dk, scale_k), Gradient(dv, scale_v)


def _block(inputs: AttentionInputs, incoming: Tensor, rows: slice, keys: Tensor | None) -> _Block:
    """The chain rule for these rows; of all keys, or of some."""
    steps: Steps = textbook.attend(inputs, rows)
    noise = weight_noise(steps, inputs, rows)
    gradient = incoming[:, :, rows]  # (1, G, r, D)
    mean = (gradient * steps.output).sum(dim=-1, keepdim=True)  # (1, G, r, 1), rowsum(P∘dP)
    weights, v = steps.weights, inputs.v
    if keys is not None:
        weights, noise, v = weights[..., keys], noise[..., keys], v[:, :, keys]
    products = gradient @ v.mT  # (1, G, r, keys)
    typical = typical_product(gradient, inputs.v)
    apart = score_noise(noise, weights, products, mean, typical)
    return _Block(weights, weights * (products - mean), noise, apart, mean.abs() + typical)
