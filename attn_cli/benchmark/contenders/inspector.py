"""attn's own inspection, which computes the output besides all that it measures."""

from __future__ import annotations

import torch

from attn_cli.benchmark.contenders.base import Run
from attn_cli.benchmark.inputs import Drawn
from attn_cli.benchmark.types import BenchCase
from attn_cli.inspection.inspector import inspect


class InspectContender:
    """One whole inspection: metrics, pictures, labels and findings with the output."""

    name = "inspect"

    def refusal(self, case: BenchCase, device: torch.device) -> str | None:
        """It has a forward pass alone."""
        return "an inspection has no backward pass" if case.mode == "backward" else None

    def working_bytes(self, case: BenchCase, device: torch.device) -> int:
        """Its work space is fixed, and small."""
        return 0

    def laid_out(self, drawn: Drawn) -> Drawn:
        """As it is drawn."""
        return drawn

    def prepare(self, drawn: Drawn) -> Run:
        """Nothing is made beforehand; the output arrives on the CPU, in the accumulation dtype."""

        def run() -> tuple[torch.Tensor, ...]:
            output = inspect(drawn.inputs).output
            assert output is not None  # an inspection gives it up only to a result that keeps it elsewhere
            return (output,)

        return run

    def kernel(self, drawn: Drawn, run: Run) -> str | None:
        """Always itself."""
        return "attn_cli.inspection"
