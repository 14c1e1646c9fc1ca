"""A call that can be loaded, so that no more than one layer of a file need be in memory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from attn_cli.inputs.collecting import nothing_collected
from attn_cli.inputs.loading_heads import judge_heads, load_heads
from attn_cli.inputs.loading_module import judge_module, load_module
from attn_cli.inputs.planned import Planned
from attn_cli.inputs.types import LoadedCall


@dataclass(frozen=True)
class CallPlan(Planned):
    """One attention call that was found; nothing of it is read yet."""

    def judge(self) -> None:
        """Refuse what names, shapes and dtypes alone show to be wrong; no tensor is read.

        Raises:
            UsageError, InputError: as :meth:`load` would.
        """
        (judge_heads if self.call.is_projected else judge_module)(self)

    def load(self) -> LoadedCall:
        """Read the call. It is judged before its numbers are read.

        Raises:
            UsageError: where a flag does not fit the call.
            InputError: where a tensor is not what it has to be.
            ResourceError: where memory runs out.
        """
        return load_heads(self) if self.call.is_projected else load_module(self)


def judge_all(plans: Iterable[CallPlan]) -> None:
    """Judge every call that is to be computed before the first is: a wrong one would else be found after minutes.

    Raises:
        UsageError, InputError: of the first that names, shapes and dtypes show to be wrong.
    """
    with nothing_collected():
        for plan in plans:
            plan.judge()
