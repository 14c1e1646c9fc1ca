"""What the contenders that are packages of their own have in common."""

from __future__ import annotations

import importlib.util
from dataclasses import replace

import torch

from attn_cli.benchmark.inputs import Drawn

HALF_TYPES = ("float16", "bfloat16")


def missing(package: str, device: torch.device) -> str | None:
    """Why ``package``, which has CUDA kernels alone, cannot be used; it is not imported to find out."""
    if importlib.util.find_spec(package) is None:
        return f"{package} is not installed"
    return None if device.type == "cuda" else f"{package} runs on CUDA alone"


def leaf(x: torch.Tensor) -> torch.Tensor:
    """``(B, H, S, D)`` as ``(B, S, H, D)``, laid out in that order, with gradients where ``x`` has them.

    A copy only where ``x`` is laid out otherwise.
    """
    return x.detach().transpose(1, 2).contiguous().requires_grad_(x.requires_grad)


def in_their_layout(drawn: Drawn) -> Drawn:
    """The same ``(B, H, S, D)`` tensors, laid out as ``(B, S, H, D)``, so that :func:`leaf` need not copy them."""

    def laid_out(x: torch.Tensor) -> torch.Tensor:
        return leaf(x).detach().transpose(1, 2).requires_grad_(x.requires_grad)

    q, k, v = (laid_out(x) for x in drawn.leaves)
    gradient = None if drawn.gradient is None else laid_out(drawn.gradient)
    return replace(drawn, inputs=replace(drawn.inputs, q=q, k=k, v=v), gradient=gradient)
