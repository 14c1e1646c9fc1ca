"""Which pass takes an item: the Triton kernel where it can, else the eager tiles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from attn_cli.attention import torch_compat
from attn_cli.inspection.areas import Area
from attn_cli.inspection.call import Call
from attn_cli.inspection.stream.functions import Functions
from attn_cli.inspection.stream.online import OnlinePass
from attn_cli.inspection.stream.plan import Plan
from attn_cli.inspection.stream.spans import Spans
from attn_cli.inspection.stream.sums import RowSums


class SumsPass(Protocol):
    """Gives the sums of an item's rows over all their keys."""

    def sums(self, item: Area, follow: bool = False) -> RowSums:
        """All sums of an item's rows, in room that the next item will use."""


class PassOrElse:
    """A pass that another one replaces for good where Triton cannot make its kernel.

    Args:
        first: the pass to try.
        make_other: what makes the other, called once at most.
    """

    def __init__(self, first: SumsPass, make_other: Callable[[], SumsPass]) -> None:
        self._pass, self._make_other = first, make_other
        self._is_other = False

    def sums(self, item: Area, follow: bool = False) -> RowSums:
        """All sums of an item's rows, from the first pass as long as it works."""
        try:
            return self._pass.sums(item, follow)
        except Exception as error:
            if self._is_other or not torch_compat.is_triton_failure(error):
                raise
        self._pass, self._is_other = self._make_other(), True
        return self._pass.sums(item, follow)


def choose_pass(call: Call, spans: Spans, plan: Plan, functions: Functions) -> SumsPass:
    """The fastest pass that takes the call; for tensors on no CUDA device Triton is never imported."""
    if call.device.type == "cuda":
        from attn_cli.inspection.stream.triton_pass import TritonPass, supports

        if supports(call, plan) is None:
            return PassOrElse(TritonPass(call, plan), lambda: OnlinePass(call, spans, plan, functions))
    return OnlinePass(call, spans, plan, functions)
