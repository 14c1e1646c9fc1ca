"""The xFormers package's memory-efficient attention, where it is installed."""

from __future__ import annotations

import importlib
from collections.abc import Callable

import torch
from torch import Tensor

from attn_cli.attention.backends.base import refused
from attn_cli.benchmark.contenders.base import Run, one_pass
from attn_cli.benchmark.contenders.installed import in_their_layout, leaf, missing
from attn_cli.benchmark.inputs import Drawn, input_bytes
from attn_cli.benchmark.types import BenchCase


class XFormersContender:
    """``memory_efficient_attention``, its own layout ``(B, S, H, D)``, ``(B, S, Hkv, G, D)`` with shared heads."""

    name = "xformers"

    def refusal(self, case: BenchCase, device: torch.device) -> str | None:
        """What else it cannot do, it says when it is tried."""
        if case.dtype == "float64":
            return "xformers has no kernel for float64"
        return missing("xformers", device)

    def working_bytes(self, case: BenchCase, device: torch.device) -> int:
        """Copies of the inputs in its layout; nothing that grows with Sq·Sk."""
        return input_bytes(case)

    def laid_out(self, drawn: Drawn) -> Drawn:
        """``(B, S, H, D)`` in memory."""
        return in_their_layout(drawn)

    def prepare(self, drawn: Drawn) -> Run:
        """Q, K and V are laid out beforehand."""
        leaves = [leaf(x) for x in drawn.leaves]  # (B, S, H, D)
        gradient = None if drawn.gradient is None else leaf(drawn.gradient)
        run = one_pass(_attention(leaves, drawn), leaves, gradient)
        return lambda: tuple(x.transpose(1, 2) for x in run())  # (B, H, S, D)

    def kernel(self, drawn: Drawn, run: Run) -> str | None:
        """The package and its version."""
        return f"xformers {getattr(importlib.import_module('xformers'), '__version__', '')}".strip()


def _attention(leaves: list[Tensor], drawn: Drawn) -> Callable[[], Tensor]:
    ops = importlib.import_module("xformers.ops")
    bias = None
    if drawn.case.causal:
        bias = importlib.import_module("xformers.ops.fmha.attn_bias").LowerTriangularFromBottomRightMask()
    q, k, v = leaves
    batch, queries, heads, features = q.shape
    kv_heads = k.shape[2]
    groups = heads // kv_heads

    def run() -> Tensor:
        xs = [q, k, v]
        if groups > 1:
            shared = (batch, k.shape[1], kv_heads, groups, features)
            xs = [
                q.reshape(batch, queries, kv_heads, groups, features),
                *(x[:, :, :, None].expand(shared) for x in (k, v)),
            ]
        try:
            output: Tensor = ops.memory_efficient_attention(*xs, attn_bias=bias, scale=drawn.inputs.scale)
        except ValueError as error:
            raise refused("xformers", str(error).strip().split("\n")[0]) from error
        return output.reshape(batch, queries, heads, features)

    return run
