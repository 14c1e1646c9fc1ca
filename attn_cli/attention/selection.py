"""A part of an attention call: some batch items, heads and query rows of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from attn_cli.attention.types import AttentionInputs, CallIndex, ModuleInputs, Rules


@dataclass(frozen=True)
class Selection:
    """The numbers to keep on each axis; None keeps the whole axis."""

    batch: tuple[int, ...] | None = None
    heads: tuple[int, ...] | None = None
    queries: tuple[int, ...] | None = None


def select(inputs: AttentionInputs, selection: Selection) -> AttentionInputs:
    """The selected part of ``inputs``, as a smaller call of its own.

    A query keeps its aligned place, so causal order and distances stay those of the whole call.

    Raises:
        IndexError: where a number lies outside its axis.
    """
    for name, numbers, size in (
        ("batch", selection.batch, inputs.q.shape[0]),
        ("head", selection.heads, inputs.q.shape[1]),
        ("query", selection.queries, inputs.q.shape[2]),
    ):
        outside = [number for number in numbers or () if not 0 <= number < size]
        if outside:
            raise IndexError(f"{name} {outside[0]} is outside 0-{size - 1}")
    inputs = inputs if selection.batch is None else _select_batch(inputs, selection.batch)
    inputs = inputs if selection.heads is None else _select_heads(inputs, selection.heads)
    return inputs if selection.queries is None else _select_queries(inputs, selection.queries)


def select_batch(module: ModuleInputs, batch: Sequence[int]) -> ModuleInputs:
    """These batch items of a module's call."""
    return replace(
        module,
        queries=pick(module.queries, 0, batch),
        keys=pick(module.keys, 0, batch),
        values=pick(module.values, 0, batch),
        rules=_rules_of_batch(module.rules, batch),
        token_ids=_take(module.token_ids, 0, batch),
    )


def _rules_of_batch(rules: Rules, batch: Sequence[int]) -> Rules:
    mask = rules.mask
    mask = replace(mask, valid_lens=_take(mask.valid_lens, 0, batch), keep=_take(mask.keep, 0, batch))
    return replace(rules, mask=mask, bias=_take(rules.bias, 0, batch))


def _select_batch(inputs: AttentionInputs, batch: Sequence[int]) -> AttentionInputs:
    return replace(
        inputs,
        q=pick(inputs.q, 0, batch),
        k=pick(inputs.k, 0, batch),
        v=pick(inputs.v, 0, batch),
        rules=_rules_of_batch(inputs.rules, batch),
        token_ids=_take(inputs.token_ids, 0, batch),
        index=replace(inputs.index, batch=tuple(inputs.index.batch[i] for i in batch)),
    )


def _select_heads(inputs: AttentionInputs, heads: Sequence[int]) -> AttentionInputs:
    rules, mask = inputs.rules, inputs.rules.mask
    kv_heads = [head // (inputs.q.shape[1] // inputs.k.shape[1]) for head in heads]
    return replace(
        inputs,
        q=pick(inputs.q, 1, heads),
        k=pick(inputs.k, 1, _shared(kv_heads)),
        v=pick(inputs.v, 1, _shared(kv_heads)),
        rules=replace(
            rules,
            mask=replace(mask, keep=_take(mask.keep, 1, heads)),
            bias=_take(rules.bias, 1, heads),
            sinks=_take(rules.sinks, 0, heads),
        ),
        index=replace(inputs.index, heads=tuple(inputs.index.heads[i] for i in heads)),
    )


def _select_queries(inputs: AttentionInputs, queries: Sequence[int]) -> AttentionInputs:
    rules, mask = inputs.rules, inputs.rules.mask
    rows = torch.tensor(queries)
    per_query_lens = mask.valid_lens is not None and mask.valid_lens.dim() == 2
    mask = replace(
        mask,
        places=mask.places[rows.to(mask.places.device)],
        valid_lens=pick(mask.valid_lens, 1, queries)
        if per_query_lens and mask.valid_lens is not None
        else mask.valid_lens,
        keep=_take(mask.keep, 2, queries),
    )
    index: CallIndex = replace(inputs.index, queries=inputs.index.queries[rows])
    return replace(
        inputs,
        q=pick(inputs.q, 2, queries),
        rules=replace(rules, mask=mask, bias=_take(rules.bias, 2, queries)),
        index=index,
    )


def _shared(kv_heads: Sequence[int]) -> Sequence[int]:
    """The key/value heads to keep: each once where whole groups of one size are selected, else one a query head."""
    once = list(dict.fromkeys(kv_heads))
    size = len(kv_heads) // len(once)
    evenly = kv_heads == [head for head in once for _ in range(size)]
    return once if evenly else kv_heads


def pick(x: Tensor, axis: int, numbers: Sequence[int]) -> Tensor:
    """Index ``axis`` by ``numbers``; a plain range stays a view, so a memory-mapped file is not read."""
    first, count = numbers[0], len(numbers)
    if list(numbers) == list(range(first, first + count)):
        return x.narrow(axis, first, count)
    rows = torch.tensor(numbers, device=x.device)
    if x.dtype.is_floating_point and x.dtype.itemsize == 1:  # PyTorch cannot index eight-bit floats
        return x.view(torch.uint8).index_select(axis, rows).view(x.dtype)
    return x.index_select(axis, rows)


def _take(x: Tensor | None, axis: int, numbers: Sequence[int]) -> Tensor | None:
    """:func:`pick`, where an axis of size 1 broadcasts and is left alone.

    An axis that really has one entry can only be selected as a whole.
    """
    return x if x is None or x.shape[axis] == 1 else pick(x, axis, numbers)
