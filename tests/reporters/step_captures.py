"""A capture with several modules and steps, as a recording of a generation writes it."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

MODULE = "enc.layer.{layer}.attn"


def prefix_of(layer: int, step: int) -> str:
    """``enc.layer.2.attn`` for a module's first call, ``steps.1.enc.layer.2.attn`` for its second."""
    module = MODULE.format(layer=layer)
    return module if step == 0 else f"steps.{step}.{module}"


def write_steps(path: Path, layers: int = 2, heads: int = 3, prompt: int = 9, steps: int = 4, width: int = 8) -> str:
    """A prefill of so many tokens, then one query a step beside a growing cache; returns the path as text."""
    draw = torch.Generator().manual_seed(0)
    tensors: dict[str, Tensor] = {}
    metadata: dict[str, str] = {"schema": "attn.capture/1"}
    for layer in range(layers):
        for step in range(steps):
            keys, queries = prompt + step, prompt if step == 0 else 1
            prefix = prefix_of(layer, step)
            for name, size in (("q", queries), ("k", keys), ("v", keys)):
                tensors[f"{prefix}.{name}"] = torch.randn(1, heads, size, width, generator=draw)
            metadata |= {f"{prefix}.causal": "true", f"{prefix}.causal_align": "bottom-right"}
    save_file(tensors, path, metadata)
    return str(path)
