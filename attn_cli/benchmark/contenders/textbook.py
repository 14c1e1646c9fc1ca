"""The textbook's steps, in blocks of query rows."""

from __future__ import annotations

import torch

from attn_cli.attention.backends.textbook import SCORES_AT_ONCE, TextbookBackend
from attn_cli.benchmark.contenders.base import Run, one_pass, scores_bytes
from attn_cli.benchmark.inputs import Drawn, itemsize
from attn_cli.benchmark.types import BenchCase

# Measured: the steps of a block of rows, one more where a mask hides some. The backward pass keeps two of every row,
# and those of one block besides: 7 of a block alone, 3 of many, but 6 with the holes that those leave in a heap.
STEPS_OF_A_BLOCK = 4
STEPS_BACKWARD, STEPS_BEYOND = 6, 3


class TextbookContender:
    """:class:`TextbookBackend` as it stands."""

    name = "textbook"

    def __init__(self) -> None:
        self._backend = TextbookBackend()

    def refusal(self, case: BenchCase, device: torch.device) -> str | None:
        """None: it can do everything."""
        return None

    def working_bytes(self, case: BenchCase, device: torch.device) -> int:
        """A block of rows at each step; all rows where the backward pass needs them."""
        whole = scores_bytes(case, itemsize(case))
        row = case.batch * case.heads * case.keys * itemsize(case)
        block = min(whole, max(row, SCORES_AT_ONCE * itemsize(case)))
        if case.mode == "backward":
            return STEPS_BACKWARD * whole + STEPS_BEYOND * block
        return (STEPS_OF_A_BLOCK + case.causal) * block

    def laid_out(self, drawn: Drawn) -> Drawn:
        """As it is drawn."""
        return drawn

    def prepare(self, drawn: Drawn) -> Run:
        """Nothing is made beforehand."""
        return one_pass(self._backend.prepare(drawn.inputs), drawn.leaves, drawn.gradient)

    def kernel(self, drawn: Drawn, run: Run) -> str | None:
        """Always itself."""
        return self._backend.kernel(drawn.inputs, [])[1]
