"""What the rules look at: one call that was run and inspected, and what more they may ask of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from attn_cli.attention import textbook
from attn_cli.attention.selection import Selection, select
from attn_cli.attention.types import AttentionInputs, CallIndex, accumulation_dtype
from attn_cli.checks.patterns import Pattern, patterns
from attn_cli.inputs.types import LoadedCall
from attn_cli.inspection.inspector import inspect
from attn_cli.inspection.options import InspectOptions
from attn_cli.inspection.types import Inspection
from attn_cli.pipeline import Examined, place

CELLS_AT_ONCE = 2**21
SAMPLED_ROWS = 256


@dataclass(frozen=True)
class Piece:
    """All steps of some query rows of one group of heads, in the accumulation dtype.

    Attributes:
        batch: the batch item, in numbers of the selection.
        heads: the query heads that share a key/value head, in numbers of the selection.
        rows: the query rows, in numbers of the selection.
        inputs: these rows and heads as a call of their own, one batch item.
        steps: ``(1, len(heads), len(rows), Sk)`` and the like.
    """

    batch: int
    heads: tuple[int, ...]
    rows: tuple[int, ...]
    inputs: AttentionInputs
    steps: textbook.Steps

    def of(self, x: Tensor) -> Tensor:
        """These heads and rows of ``(B, Hq, Sq, n)`` of the selection, on the CPU: ``(h, r, n)``."""
        heads = slice(self.heads[0], self.heads[-1] + 1)  # a group's heads stand side by side
        return x[self.batch, heads].index_select(1, torch.tensor(self.rows))


@dataclass(frozen=True)
class Evidence:
    """One call that was run and inspected.

    Attributes:
        call: as it was loaded, whole.
        examined: what ran and what was seen, of the selection.
    """

    call: LoadedCall
    examined: Examined

    @property
    def inputs(self) -> AttentionInputs:
        """The selected part of the call, on the device and in the dtype that the kernel ran in."""
        return self.examined.inputs

    @property
    def inspection(self) -> Inspection:
        """What every head did."""
        return self.examined.inspection

    @property
    def index(self) -> CallIndex:
        """Where the selection sits in the whole call."""
        return self.examined.inputs.index

    @cached_property
    def patterns(self) -> tuple[Pattern, ...]:
        """The whole call's mask and bias as the file has them, as far as they hide keys."""
        return patterns(self.call.inputs.rules)

    @cached_property
    def exact_inputs(self) -> AttentionInputs:
        """The selected part of the file's own numbers in float64, on the CPU."""
        return place(self.call, torch.device("cpu"), "float64")

    @cached_property
    def exact(self) -> Inspection:
        """The inspection in float64, with output and lse; it takes as long as the first one."""
        return inspect(self.exact_inputs, InspectOptions(top=0, picture_rows=1, picture_columns=1))

    @property
    def sampled_rows(self) -> tuple[int, ...]:
        """Query rows of the selection, all or 256 of them evenly spaced, for statistics."""
        queries = self.inputs.q.shape[2]
        return tuple(int(row) for row in torch.linspace(0, queries - 1, min(queries, SAMPLED_ROWS)).round())

    @property
    def recorded_output(self) -> Tensor | None:
        """What the file says came out of the selected part, ``(B, Hq, Sq, Dv)``, as the file has it."""
        return self._selected(self.call.recorded.output)

    @property
    def recorded_weights(self) -> Tensor | None:
        """What the file says the weights of the selected part were, ``(B, Hq, Sq, Sk)``."""
        return self._selected(self.call.recorded.weights)

    def _selected(self, x: Tensor | None) -> Tensor | None:
        if x is None:
            return None
        for axis, numbers in enumerate((self.index.batch, self.index.heads, self.index.queries.tolist())):
            if len(numbers) < x.shape[axis]:
                x = x.index_select(axis, torch.tensor(numbers))
        return x


def pieces(
    inputs: AttentionInputs, rows: Sequence[int] | None = None, dtype: torch.dtype | None = None
) -> Iterator[Piece]:
    """Every step of a call, a batch item, a key/value head and a bounded number of cells at a time.

    Args:
        inputs: the call or a selection of it.
        rows: the query rows to walk, in numbers of the selection; None is all.
        dtype: to compute in; None is the accumulation dtype.
    """
    (batch, heads, queries, keys), groups = inputs.weights_shape, inputs.q.shape[1] // inputs.k.shape[1]
    wanted = tuple(range(queries)) if rows is None else tuple(rows)
    at_once = max(1, CELLS_AT_ONCE // (groups * keys))
    dtype = dtype or accumulation_dtype(inputs.q.dtype)
    for item in range(batch):
        for first in range(0, heads, groups):
            group = tuple(range(first, first + groups))
            for start in range(0, len(wanted), at_once):
                some = wanted[start : start + at_once]
                part = select(inputs, Selection((item,), group, some)).to(inputs.q.device, dtype)
                yield Piece(item, group, some, part, textbook.attend(part))
