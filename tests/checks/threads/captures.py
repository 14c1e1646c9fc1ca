"""What a thread's author would have saved: the tensors of one attention call, and what their framework made of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor


@dataclass(frozen=True)
class Capture:
    """A file: tensors under the names that ``attn`` reads, and text metadata."""

    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, str] = field(default_factory=dict)

    def save(self, folder: Path) -> str:
        """Write it as safetensors; returns the path."""
        path = folder / "capture.safetensors"
        save_file({name: x.contiguous().clone() for name, x in self.tensors.items()}, path, dict(self.metadata))
        return str(path)


def normal(batch: int, heads: int, queries: int, keys: int, dim: int, seed: int = 0) -> dict[str, Tensor]:
    """Standard normal ``q`` ``(B, H, Sq, D)``, ``k`` and ``v`` ``(B, H, Sk, D)`` in float32."""
    generator = torch.Generator().manual_seed(seed)
    rows = {"q": queries, "k": keys, "v": keys}
    return {name: torch.randn(batch, heads, number, dim, generator=generator) for name, number in rows.items()}


def plain_softmax(
    q: Tensor, k: Tensor, v: Tensor, keep: Tensor, scale: float | None = None, fill: float = -math.inf
) -> Tensor:
    """The formula as everyone first writes it: hidden logits are filled and nothing is done about an empty row."""
    logits = q @ k.transpose(-2, -1) * (q.shape[-1] ** -0.5 if scale is None else scale)  # (B, H, Sq, Sk)
    return torch.softmax(logits.masked_fill(~keep, fill), dim=-1) @ v  # (B, H, Sq, D)


def zero_where_empty(q: Tensor, k: Tensor, v: Tensor, keep: Tensor) -> Tensor:
    """As ``plain_softmax``, but a query without a visible key gets 0: what FlashAttention documents."""
    return plain_softmax(q, k, v, keep).masked_fill(~keep.any(dim=-1, keepdim=True), 0.0)


def lengths(*lens: int, keys: int) -> Tensor:
    """True at the real tokens of right-padded items: ``(B, Sk)``."""
    return torch.arange(keys) < torch.tensor(lens)[:, None]
