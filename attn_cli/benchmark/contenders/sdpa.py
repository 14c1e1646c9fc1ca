"""PyTorch's ``scaled_dot_product_attention``: its own choice, or one of its kernels by name."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from attn_cli.attention import torch_compat
from attn_cli.attention.backends.sdpa import SDPABackend
from attn_cli.benchmark.contenders.base import Run, one_pass, scores_bytes
from attn_cli.benchmark.inputs import Drawn, itemsize
from attn_cli.benchmark.types import BenchCase

CUDA_ALONE = ("efficient", "cudnn")
# Measured of the math kernel: 2.3 and 3 at once, backward up to 5.1 with the holes that they leave in a heap.
STEPS_HELD = {"forward": 2.5, "backward": 4.5}


class SDPAContender:
    """:class:`SDPABackend`, with as little around its kernel as there can be.

    Args:
        name: ``"sdpa"``, or a kernel: ``"flash"``, ``"efficient"``, ``"cudnn"``, ``"math"``.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._backend = SDPABackend(name)

    def refusal(self, case: BenchCase, device: torch.device) -> str | None:
        """Two kernels exist on CUDA alone; what else one cannot do, PyTorch says when it is tried."""
        if self.name in CUDA_ALONE and device.type != "cuda":
            return f"PyTorch has the {self.name} kernel on CUDA alone"
        return None

    def working_bytes(self, case: BenchCase, device: torch.device) -> int:
        """The math kernel holds all scores and all weights, in float32 at least, and a mask of all cells."""
        if self.name != "math":
            return 0
        wide = max(4, itemsize(case))
        mask = wide * case.queries * case.keys if case.causal else 0
        return mask + round(STEPS_HELD[case.mode] * scores_bytes(case, wide))

    def laid_out(self, drawn: Drawn) -> Drawn:
        """As it is drawn."""
        return drawn

    def prepare(self, drawn: Drawn) -> Run:
        """A mask is made beforehand where one is needed."""
        return one_pass(self._attention(drawn), drawn.leaves, drawn.gradient)

    def _attention(self, drawn: Drawn) -> Callable[[], Tensor]:
        """The first run goes through the backend, which says why the kernel refuses; the next ones run it alone."""
        careful = self._backend.prepare(drawn.inputs)
        if self.name == "sdpa":
            return careful
        attention = SDPABackend("sdpa").prepare(drawn.inputs)
        proven = False

        def run() -> Tensor:
            nonlocal proven
            if proven:
                return torch_compat.held_to_kernel(self.name, attention)
            output = careful()
            proven = True
            return output

        return run

    def kernel(self, drawn: Drawn, run: Run) -> str | None:
        """The operator that is dispatched."""
        _, operators = torch_compat.observe_operators(run)
        return self._backend.kernel(drawn.inputs, operators)[1]
