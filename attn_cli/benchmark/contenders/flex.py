"""PyTorch's ``flex_attention``: compiled on CUDA, its unfused reference elsewhere."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from attn_cli.attention import torch_compat
from attn_cli.attention.backends.base import refused
from attn_cli.benchmark.contenders.base import Run, one_pass, scores_bytes
from attn_cli.benchmark.inputs import Drawn, itemsize
from attn_cli.benchmark.types import BenchCase

STEPS_HELD = 5  # measured: 3.3 at once, and up to 4.7 with the holes that they leave in a heap


class FlexContender:
    """``flex_attention`` with causal order as a block mask; compiling is a part of its first run alone."""

    name = "flex"

    def refusal(self, case: BenchCase, device: torch.device) -> str | None:
        """What it cannot do, PyTorch says when it is tried; but only after much work for a backward pass off CUDA."""
        if case.mode == "backward" and device.type != "cuda":
            return "flex_attention has a backward pass on CUDA alone"
        return None

    def working_bytes(self, case: BenchCase, device: torch.device) -> int:
        """Unfused it holds all scores at several steps, in float32 at least; a block mask is made from all cells."""
        cells = case.queries * case.keys if case.causal else 0
        return cells if _compiles(device) else cells + STEPS_HELD * scores_bytes(case, max(4, itemsize(case)))

    def laid_out(self, drawn: Drawn) -> Drawn:
        """As it is drawn."""
        return drawn

    def prepare(self, drawn: Drawn) -> Run:
        """The block mask is made beforehand."""
        q, k, v = drawn.leaves
        scale, causal, compiled = drawn.inputs.scale, drawn.case.causal, _compiles(q.device)
        attention = _with_reason(torch_compat.causal_flex(q, k, v, scale, causal, compiled))
        return one_pass(attention, drawn.leaves, drawn.gradient)

    def kernel(self, drawn: Drawn, run: Run) -> str | None:
        """Whether it was compiled depends on the device."""
        return "flex_attention" if _compiles(drawn.inputs.q.device) else "flex_attention, unfused"


def _compiles(device: torch.device) -> bool:
    return device.type == "cuda"


def _with_reason(attention: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """What flex says of a case that it cannot run, which it says by ``ValueError`` as well."""

    def run() -> Tensor:
        try:
            return attention()
        except ValueError as error:
            raise refused("flex", str(error).strip().split("\n")[0]) from error

    return run
