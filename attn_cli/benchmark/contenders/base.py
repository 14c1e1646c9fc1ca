"""What a contender is: a name, what it cannot run, and one function to be timed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from attn_cli.benchmark.inputs import Drawn
from attn_cli.benchmark.types import BenchCase

Run = Callable[[], tuple[Tensor, ...]]


class Contender(Protocol):
    """One way to compute a case, made ready to be timed."""

    @property
    def name(self) -> str:
        """What ``--backend`` calls it."""

    def refusal(self, case: BenchCase, device: torch.device) -> str | None:
        """Why it cannot run this case on this device, or None where it may try."""

    def working_bytes(self, case: BenchCase, device: torch.device) -> int:
        """Memory that it is known to hold at once beside the inputs and what it gives; 0 where nothing is known."""

    def laid_out(self, drawn: Drawn) -> Drawn:
        """The same case with its tensors as this backend wants them in memory, so that ``prepare`` copies none of it.

        Such copies are made once by whoever stores tensors in that layout; the memory pass leaves them out.
        """

    def prepare(self, drawn: Drawn) -> Run:
        """What is to be timed: gives the output ``(B, Hq, Sq, D)``, or the gradients of Q, K and V.

        What one would make once for many calls, such as a mask or another layout, is made here, and so is the
        forward pass where the backward pass is timed. Here or when it runs, :class:`BackendError` and
        ``NotImplementedError`` say that it cannot run this case after all.
        """

    def kernel(self, drawn: Drawn, run: Run) -> str | None:
        """What really runs, by PyTorch's own name for it where there is one; may run ``run`` to see."""


def one_pass(attention: Callable[[], Tensor], leaves: Sequence[Tensor], gradient: Tensor | None) -> Run:
    """The pass to be timed: ``attention`` itself, or with a ``gradient`` of its output the backward pass alone.

    Args:
        attention: gives the output, in any layout.
        leaves: Q, K and V, of which the gradients are taken.
        gradient: of the output, in its layout; None times the forward pass.
    """
    if gradient is None:
        return lambda: (attention(),)
    with torch.enable_grad():
        output = attention()
    return lambda: torch.autograd.grad(output, tuple(leaves), gradient, retain_graph=True)


def scores_bytes(case: BenchCase, itemsize: int) -> int:
    """Bytes of one matrix of all scores, ``(B, Hq, Sq, Sk)``."""
    return case.batch * case.heads * case.queries * case.keys * itemsize
