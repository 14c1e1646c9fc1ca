"""All textbook steps of a call, some rows of one group of heads at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from attn_cli.attention import textbook
from attn_cli.attention.selection import Selection, select
from attn_cli.attention.types import AttentionInputs, accumulation_dtype

CELLS_AT_ONCE = 2**21


@dataclass(frozen=True)
class Piece:
    """All steps of some query rows of one group of heads, in the accumulation dtype.

    Attributes:
        batch: the batch item, in numbers of the selection.
        heads: the query heads that share a key/value head, in numbers of the selection.
        rows: the query rows, in numbers of the selection.
        inputs: these rows and heads as a call of their own, one batch item.
        steps: ``(1, len(heads), len(rows), Sk)`` and the like.
        explained: what :func:`attn_cli.checks.exact.explained` has computed, by dtype.
    """

    batch: int
    heads: tuple[int, ...]
    rows: tuple[int, ...]
    inputs: AttentionInputs
    steps: textbook.Steps
    explained: dict[torch.dtype, Tensor] = field(default_factory=dict)

    def of(self, x: Tensor) -> Tensor:
        """These heads and rows of ``(B, Hq, Sq, n)`` of the selection: ``(h, r, n)``."""
        heads = slice(self.heads[0], self.heads[-1] + 1)  # a group's heads stand side by side
        return x[self.batch, heads].index_select(1, torch.tensor(self.rows, device=x.device))


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
