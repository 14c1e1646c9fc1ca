"""What the contenders that are packages of their own have in common."""

from __future__ import annotations

import importlib.util

import torch

HALF_TYPES = ("float16", "bfloat16")


def missing(package: str, device: torch.device) -> str | None:
    """Why ``package``, which has CUDA kernels alone, cannot be used; it is not imported to find out."""
    if importlib.util.find_spec(package) is None:
        return f"{package} is not installed"
    return None if device.type == "cuda" else f"{package} runs on CUDA alone"


def leaf(x: torch.Tensor) -> torch.Tensor:
    """``(B, H, S, D)`` as ``(B, S, H, D)``, laid out in that order, with gradients where ``x`` has them."""
    return x.detach().transpose(1, 2).contiguous().requires_grad_(x.requires_grad)
