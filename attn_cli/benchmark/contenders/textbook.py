"""The textbook's steps, in blocks of query rows."""

from __future__ import annotations

import torch

from attn_cli.attention.backends.textbook import SCORES_AT_ONCE, TextbookBackend
from attn_cli.benchmark.contenders.base import Run, one_pass, scores_bytes
from attn_cli.benchmark.inputs import Drawn, itemsize
from attn_cli.benchmark.types import BenchCase

STEPS_HELD = 3  # scores, exponentials and weights; the backward pass keeps them for every row


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
        if case.mode == "forward":
            row = case.batch * case.heads * case.keys * itemsize(case)
            whole = min(whole, max(row, SCORES_AT_ONCE * itemsize(case)))
        return STEPS_HELD * whole

    def prepare(self, drawn: Drawn) -> Run:
        """Nothing is made beforehand."""
        return one_pass(self._backend.prepare(drawn.inputs), drawn.leaves, drawn.gradient)

    def kernel(self, drawn: Drawn, run: Run) -> str | None:
        """Always itself."""
        return self._backend.kernel(drawn.inputs, [])[1]
