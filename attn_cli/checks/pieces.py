"""All textbook steps of a call, some rows of some heads at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import product

import torch
from torch import Tensor

from attn_cli.attention import textbook
from attn_cli.attention.masks import MaskRule
from attn_cli.attention.selection import Selection, select
from attn_cli.attention.types import AttentionInputs, accumulation_dtype

CELLS_AT_ONCE = 2**21
NUMBERS_AT_ONCE = 2**24  # of q and the output, and of k and v repeated for the query heads: 128 MiB in float64
FEW_HEADS = 256  # of all batch items: they are walked one key/value head after another, however small they are
SMALL_PIECE = 2**18  # cells, or numbers of q, k, v and the output


@dataclass(frozen=True)
class Piece:
    """All steps of some query rows of some heads, in one dtype.

    Attributes:
        items: the batch item of each head, in numbers of the selection: one, or several with all of their heads.
        heads: query heads that stand side by side, in numbers of the selection.
        rows: the query rows, in numbers of the selection.
        inputs: these rows and heads as a call of their own, of one batch item.
        steps: ``(1, len(heads), len(rows), Sk)`` and the like.
        explained: what :func:`attn_cli.checks.exact.explained` has computed, by dtype.
    """

    items: tuple[int, ...]
    heads: tuple[int, ...]
    rows: tuple[int, ...]
    inputs: AttentionInputs
    steps: textbook.Steps
    explained: dict[torch.dtype, Tensor] = field(default_factory=dict)

    @property
    def places(self) -> tuple[Tensor, Tensor, Tensor]:
        """The index of these heads and rows in ``(B, Hq, Sq)`` of the selection: what has it is ``(h, r)``."""
        items, heads, rows = (torch.tensor(numbers) for numbers in (self.items, self.heads, self.rows))
        return items[:, None], heads[:, None], rows

    def of(self, x: Tensor) -> Tensor:
        """These heads and rows of ``(B, Hq, Sq, n)`` of the selection: ``(h, r, n)``."""
        items = slice(self.items[0], self.items[-1] + 1)
        heads = slice(self.heads[0], self.heads[-1] + 1)
        return x[items, heads].flatten(0, 1).index_select(1, torch.tensor(self.rows, device=x.device))


def pieces(
    inputs: AttentionInputs, rows: Sequence[int] | None = None, dtype: torch.dtype | None = None
) -> Iterator[Piece]:
    """Every step of a call, some heads and a bounded number of rows at a time.

    A piece has the query heads of one key/value head of a batch item; of several, and of several items, where there are
    many and small ones, so that thousands take few rounds; some of them where keys and values, repeated for each, would
    be large.

    Args:
        inputs: the call or a selection of it.
        rows: the query rows to walk, in numbers of the selection; None is all.
        dtype: to compute in; None is the accumulation dtype.
    """
    _, _, queries, keys = inputs.weights_shape
    wanted = tuple(range(queries)) if rows is None else tuple(rows)
    features = inputs.q.shape[3] + inputs.v.shape[3]
    inputs = replace(inputs, output_projection=None)  # no step has it, and it would be converted for each piece
    dtype = dtype or accumulation_dtype(inputs.q.dtype)
    for items, heads in _sets_of_heads(inputs, len(wanted)):
        of_heads = select(inputs, Selection(items, heads))
        of_heads = replace(of_heads, k=of_heads.k.to(dtype), v=of_heads.v.to(dtype))  # once for all of their rows
        of_each, heads = tuple(item for item in items for _ in heads), heads * len(items)
        number = len(heads)
        at_once = min(CELLS_AT_ONCE // (number * keys), NUMBERS_AT_ONCE // (number * features))
        for some in _batched(wanted, max(1, at_once)):
            part = select(of_heads, Selection(queries=some)).to(inputs.q.device, dtype)
            part = part if len(items) == 1 else _side_by_side(part)
            yield Piece(of_each, heads, some, part, textbook.attend(part))


def _side_by_side(inputs: AttentionInputs) -> AttentionInputs:
    """The same heads as those of one batch item."""
    batch, heads = inputs.weights_shape[:2]
    rules, keep = inputs.rules, inputs.rules.mask.tile()

    def lined_up(x: Tensor) -> Tensor:
        return x.expand(batch, heads, -1, -1).flatten(0, 1)[None]  # (1, B·heads, …)

    mask = MaskRule(
        rules.mask.num_keys, rules.mask.places, keep=None if keep is None else lined_up(keep), value=rules.mask.value
    )
    rules = replace(
        rules,
        mask=mask,
        bias=None if rules.bias is None else lined_up(rules.bias),
        sinks=None if rules.sinks is None else rules.sinks.repeat(batch),
    )
    q, k, v = (x.flatten(0, 1)[None] for x in (inputs.q, inputs.k, inputs.v))  # (1, B·heads, S, D)
    index = replace(inputs.index, batch=(0,), heads=tuple(range(batch * heads)))
    return replace(inputs, q=q, k=k, v=v, rules=rules, index=index, token_ids=None)


def _sets_of_heads(inputs: AttentionInputs, rows: int) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """The batch items of each piece and their query heads: all, several whole groups, one, or a part of one."""
    batch, heads, _, keys = inputs.weights_shape
    groups, features = heads // inputs.k.shape[1], inputs.q.shape[3] + inputs.v.shape[3]
    together = SMALL_PIECE // (groups * max(rows * keys, (rows + keys) * features))
    if together > 1 and batch * heads > FEW_HEADS:
        whole_items = max(1, together * groups // heads)
        yield from product(_batched(range(batch), whole_items), _batched(range(heads), together * groups))
        return
    at_once = min(groups, max(1, NUMBERS_AT_ONCE // (keys * features)))
    for item, first in product(range(batch), range(0, heads, groups)):
        for some in _batched(range(first, first + groups), at_once):
            yield (item,), some


def _batched(numbers: Sequence[int], size: int) -> Iterator[tuple[int, ...]]:
    """``numbers``, ``size`` at a time; the last are perhaps fewer."""
    for start in range(0, len(numbers), size):
        yield tuple(numbers[start : start + size])
