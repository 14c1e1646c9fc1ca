"""The flash-attn package (Dao 2023, arXiv 2307.08691), where it is installed."""

from __future__ import annotations

import importlib

import torch

from attn_cli.benchmark.contenders.base import Run, one_pass
from attn_cli.benchmark.contenders.installed import HALF_TYPES, in_their_layout, leaf, missing
from attn_cli.benchmark.inputs import Drawn, input_bytes
from attn_cli.benchmark.types import BenchCase

LARGEST_HEAD = 256


class FlashAttentionContender:
    """``flash_attn_func``, in its own layout ``(B, S, H, D)``; causal order is bottom-right from 2.1 on."""

    name = "flash-attn"

    def refusal(self, case: BenchCase, device: torch.device) -> str | None:
        """It has kernels for half types on CUDA, and heads of up to 256 features."""
        reason = missing("flash_attn", device)
        if reason is None and case.dtype not in HALF_TYPES:
            return f"flash_attn computes in {' and '.join(HALF_TYPES)}, not in {case.dtype}"
        if reason is None and case.head_dim > LARGEST_HEAD:
            return f"flash_attn has heads of at most {LARGEST_HEAD} features"
        return reason

    def working_bytes(self, case: BenchCase, device: torch.device) -> int:
        """Copies of the inputs in its layout; nothing that grows with Sq·Sk."""
        return input_bytes(case)

    def laid_out(self, drawn: Drawn) -> Drawn:
        """``(B, S, H, D)`` in memory."""
        return in_their_layout(drawn)

    def prepare(self, drawn: Drawn) -> Run:
        """Q, K and V are laid out beforehand."""
        function = importlib.import_module("flash_attn").flash_attn_func
        q, k, v = leaves = [leaf(x) for x in drawn.leaves]  # (B, S, H, D)
        scale, causal = drawn.inputs.scale, drawn.case.causal
        gradient = None if drawn.gradient is None else leaf(drawn.gradient)
        run = one_pass(lambda: function(q, k, v, softmax_scale=scale, causal=causal), leaves, gradient)
        return lambda: tuple(x.transpose(1, 2) for x in run())  # (B, H, S, D)

    def kernel(self, drawn: Drawn, run: Run) -> str | None:
        """The package and its version."""
        return f"flash_attn {getattr(importlib.import_module('flash_attn'), '__version__', '')}".strip()
