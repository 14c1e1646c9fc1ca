"""All textbook steps of a call, some rows of some heads at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from attn_cli.attention import textbook
from attn_cli.attention.selection import Selection, select
from attn_cli.attention.types import AttentionInputs, accumulation_dtype

CELLS_AT_ONCE = 2**21
NUMBERS_AT_ONCE = 2**24  # of q and the output, and of k and v repeated for the query heads: 128 MiB in float64
FEW_HEADS = 256  # of all batch items: they are walked one key/value head after another, however small they are
SMALL_PIECE = 2**18  # cells, or numbers of q, k, v and the output


@dataclass(frozen=True)
class Piece:
    """All steps of some query rows of some heads of one batch item, in one dtype.

    Attributes:
        batch: the batch item, in numbers of the selection.
        heads: query heads that stand side by side, in numbers of the selection.
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
        heads = slice(self.heads[0], self.heads[-1] + 1)
        return x[self.batch, heads].index_select(1, torch.tensor(self.rows, device=x.device))


def pieces(
    inputs: AttentionInputs, rows: Sequence[int] | None = None, dtype: torch.dtype | None = None
) -> Iterator[Piece]:
    """Every step of a call, a batch item, some heads and a bounded number of rows at a time.

    A piece has the query heads of one key/value head; of several where there are many and small ones, so that thousands
    take few rounds; some of them where keys and values, repeated for each, would be large.

    Args:
        inputs: the call or a selection of it.
        rows: the query rows to walk, in numbers of the selection; None is all.
        dtype: to compute in; None is the accumulation dtype.
    """
    batch, _, queries, keys = inputs.weights_shape
    wanted = tuple(range(queries)) if rows is None else tuple(rows)
    features = inputs.q.shape[3] + inputs.v.shape[3]
    inputs = replace(inputs, output_projection=None)  # no step has it, and it would be converted for each piece
    dtype = dtype or accumulation_dtype(inputs.q.dtype)
    for item in range(batch):
        for heads in _sets_of_heads(inputs, len(wanted)):
            of_heads = select(inputs, Selection((item,), heads))
            of_heads = replace(of_heads, k=of_heads.k.to(dtype), v=of_heads.v.to(dtype))  # once for all of their rows
            at_once = min(CELLS_AT_ONCE // (len(heads) * keys), NUMBERS_AT_ONCE // (len(heads) * features))
            for some in _batched(wanted, max(1, at_once)):
                part = select(of_heads, Selection(queries=some)).to(inputs.q.device, dtype)
                yield Piece(item, heads, some, part, textbook.attend(part))


def _sets_of_heads(inputs: AttentionInputs, rows: int) -> Iterator[tuple[int, ...]]:
    """The query heads of each piece: several whole groups, one, or a part of one."""
    batch, heads, _, keys = inputs.weights_shape
    groups, features = heads // inputs.k.shape[1], inputs.q.shape[3] + inputs.v.shape[3]
    together = SMALL_PIECE // (groups * max(rows * keys, (rows + keys) * features))
    if together > 1 and batch * heads > FEW_HEADS:
        yield from _batched(range(heads), together * groups)
        return
    at_once = min(groups, max(1, NUMBERS_AT_ONCE // (keys * features)))
    for first in range(0, heads, groups):
        yield from _batched(range(first, first + groups), at_once)


def _batched(numbers: Sequence[int], size: int) -> Iterator[tuple[int, ...]]:
    """``numbers``, ``size`` at a time; the last are perhaps fewer."""
    for start in range(0, len(numbers), size):
        yield tuple(numbers[start : start + size])
