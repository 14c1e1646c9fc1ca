"""Attention calls in a file, which are read when they are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import SupportsIndex, overload

import torch
from torch import Tensor

from attn_cli.api.given import whole
from attn_cli.api.inspection import Inspection
from attn_cli.api.running import run_here, run_options
from attn_cli.api.wording import told_in_python, with_arguments
from attn_cli.inputs.loading import CallPlan
from attn_cli.inputs.names import step_of, without_step
from attn_cli.inputs.source import CallSource
from attn_cli.inputs.text import shown
from attn_cli.pipeline import resource_errors
from attn_cli.reporters.terminal.text import count


class _Held:
    """An open file; it is closed once neither the calls nor any of them is in use."""

    def __init__(self, source: CallSource, also: object) -> None:
        self._source, self._also = source, also

    def __del__(self) -> None:
        self._source.close()


class StoredCall:
    """One attention call in a file.

    Args:
        plan: where it is, and how it is to be read.
        held: keeps the file open.
    """

    def __init__(self, plan: CallPlan, held: _Held) -> None:
        self._plan, self._held = plan, held

    @property
    def prefix(self) -> str:
        """What stands before the names of its tensors; empty where nothing does."""
        return self._plan.prefix

    @property
    def module(self) -> str:
        """The path of the module that made it, in a recording; else the prefix."""
        return without_step(self._plan.prefix)

    @property
    def step(self) -> int:
        """How many calls of the same module came before, in a recording; else 0."""
        return step_of(self._plan.prefix)

    @property
    def layer(self) -> int | None:
        """The layer's number, or None."""
        return self._plan.layer

    @property
    def q(self) -> Tensor:
        """The queries as the file has them, on the CPU: a copy, which nothing that becomes of the file changes.

        Raises:
            AttnError: of ``attn_cli.errors``, where the file changed, or memory has no room for them.
        """
        return self._tensor(0)

    @property
    def k(self) -> Tensor:
        """The keys, likewise."""
        return self._tensor(1)

    @property
    def v(self) -> Tensor:
        """The values, likewise."""
        return self._tensor(2)

    def _tensor(self, number: int) -> Tensor:
        with told_in_python(), resource_errors("cpu"):
            x = self._plan.file.read(self._plan.call.triple[number]).clone()
            self._plan.check_unchanged()
            return x

    def inspect(
        self, *, top: SupportsIndex = 3, weights: bool = False, similarity: bool = False, backend: str = "auto",
        device: str | torch.device = "auto", dtype: str | torch.dtype | None = None,
    ) -> Inspection:  # fmt: skip
        """Read the call and say what every head of it does; see :func:`attn_cli.inspect`.

        Args:
            top: how many of the strongest query → key pairs of each head to name.
            weights: whether to keep all weights, ``(B, Hq, Sq, Sk)``.
            similarity: whether to compare every two heads.
            backend: what computes the output that the weights are checked against.
            device: where to compute: ``"auto"`` is a GPU where there is one.
            dtype: what to convert to first; the file's by default.

        Raises:
            AttnError: of ``attn_cli.errors``, where a tensor or an argument is not what it has to be.
        """
        with told_in_python():
            options = run_options(whole("top", top), weights, similarity, backend, device, dtype)
            found = run_here(lambda: with_arguments(self._plan.load(), in_memory=False), options)
            self._plan.check_unchanged()
            return found

    def __repr__(self) -> str:
        tensors = (f"{role} {info.shape}" for role, info in zip("qkv", self._plan.infos, strict=True))
        name = shown(self.prefix) or shown(self._plan.file.path)
        return f"<attn_cli call {name}: {', '.join(tensors)} {self._plan.infos[0].dtype}>"


class StoredCalls(Sequence[StoredCall]):
    """The attention calls of a file, in order.

    The file stays open as long as this, or one of the calls, is in use.

    Args:
        calls: all of them.
    """

    def __init__(self, calls: Sequence[StoredCall]) -> None:
        self._calls = tuple(calls)

    @classmethod
    def of(cls, source: CallSource, also: object = None) -> StoredCalls:
        """The calls of an open file.

        Args:
            source: is closed when it is no longer needed.
            also: let go of at the same time.
        """
        held = _Held(source, also)
        return cls([StoredCall(plan, held) for plan in source.plans])

    def __len__(self) -> int:
        return len(self._calls)

    @overload
    def __getitem__(self, which: int) -> StoredCall: ...

    @overload
    def __getitem__(self, which: slice) -> StoredCalls: ...

    def __getitem__(self, which: int | slice) -> StoredCall | StoredCalls:
        return StoredCalls(self._calls[which]) if isinstance(which, slice) else self._calls[which]

    def __repr__(self) -> str:
        lines = [f"[{number}] {call!r}" for number, call in enumerate(self._calls)]
        return "\n".join([f"<{count(len(self), 'attention call')}>", *lines])
