"""ATTN002 and ATTN003: query rows that went wrong, and what is known of the cause."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from attn_cli.attention import textbook
from attn_cli.attention.selection import Selection, select
from attn_cli.attention.types import AttentionInputs
from attn_cli.inspection.accumulators import MarkedRows
from attn_cli.inspection.call import Call
from attn_cli.inspection.findings.broken import ROW_HINT, first_of, is_above, kind_of
from attn_cli.inspection.findings.rules import EMPTY_ROW, NONFINITE_RESULT, counted, place_in_call
from attn_cli.inspection.types import Finding


def faulty_rows_finding(call: Call, faulty: MarkedRows) -> Finding | None:
    """ATTN002, with the cause of the first row, or None where every row is sound."""
    if not faulty.total:
        return None
    batch, head, row = faulty.first_place()
    cause, key = _cause(_alone(call, batch, head, row))
    message = f"weights or output are broken in {counted(faulty.total, 'query row')}; in the first, {cause}"
    place = place_in_call(call.inputs.index, None, batch, head, row, key)
    return NONFINITE_RESULT.finding(message, place, faulty.total, ROW_HINT)


@dataclass(frozen=True)
class _Row:
    """One query row of one head, all steps computed, every axis but the keys' of size 1."""

    inputs: AttentionInputs
    steps: textbook.Steps


def _alone(call: Call, batch: int, head: int, row: int) -> _Row:
    picked = select(call.inputs, Selection((batch,), (head,), (row,)))
    inputs = picked.to(call.device, call.dtype)
    return _Row(inputs, textbook.attend(inputs))


def _cause(row: _Row) -> tuple[str, int | None]:
    """What made the row go wrong, in the order of the steps, and the key concerned."""
    sinks = row.inputs.rules.sinks
    if bool((row.steps.lse == -torch.inf).all()):
        return _cause_of_no_weight(row)
    key = _first_key(is_above(row.steps.masked[0, 0, 0]))
    if key is not None:
        return _cause_of_logit(row, key)
    if sinks is not None and bool(is_above(sinks).any()):
        return f"the head's sink is {kind_of(sinks)}", None
    return _cause_in_output(row)


def _cause_of_no_weight(row: _Row) -> tuple[str, int | None]:
    """What made every visible logit −∞."""
    q, k = row.inputs.q[0, 0, 0], row.inputs.k[0, 0]
    broken, keep = ~k.isfinite().all(dim=-1), row.steps.keep  # (Sk,)
    key = _first_key(broken if keep is None else broken & keep.expand_as(row.steps.weights)[0, 0, 0])
    if not bool(q.isfinite().all()):
        return f"q holds {kind_of(q)} at this query, which makes every visible logit −∞", None
    if key is not None:
        return f"k holds {kind_of(k[key])} at key {key}, which makes every visible logit −∞", key
    return "every visible logit overflows to −∞, so that no key gets any weight", None


def _cause_of_logit(row: _Row, key: int) -> tuple[str, int | None]:
    """What made the logit of ``key`` NaN or +∞."""
    steps, q, k = row.steps, row.inputs.q[0, 0, 0], row.inputs.k[0, 0, key]
    if not bool(q.isfinite().all()):
        return f"q holds {kind_of(q)} at this query", None
    if not bool(k.isfinite().all()):
        return f"k holds {kind_of(k)} at key {key}, which this query may attend to", key
    for name, logits in (("q·kᵀ", steps.scores), ("the scaled logit", steps.scaled)):
        logit = logits[0, 0, 0, key]
        if bool(is_above(logit)):
            return f"{name} of key {key} overflows to {kind_of(logit)}", key
    return f"the bias makes the logit of key {key} {kind_of(steps.biased[0, 0, 0, key])}", key


def _cause_in_output(row: _Row) -> tuple[str, int | None]:
    """The cause where the weights are finite and the output is not."""
    v, keep = row.inputs.v[0, 0], row.steps.keep  # (Sk, Dv)
    broken = ~v.isfinite().all(dim=-1)
    visible = broken if keep is None else broken & keep.expand_as(row.steps.weights)[0, 0, 0]
    key = _first_key(visible)
    if key is not None:
        return f"v holds {kind_of(v[key])} at key {key}, which this query may attend to", key
    key = _first_key(broken)
    if key is not None:
        return f"v holds {kind_of(v[key])} at key {key}: the key is hidden, but 0 times {kind_of(v[key])} is NaN", key
    return "the sum of weights times V overflows", None


def empty_rows_finding(call: Call, empty: MarkedRows) -> Finding | None:
    """ATTN003, or None where every query row has a visible key."""
    if not empty.total:
        return None
    batch, head, row = empty.first_place()
    every = [
        name
        for name, size, whole in zip(("batch item", "head"), empty.count.shape, call.inputs.weights_shape, strict=False)
        if size == 1 and whole > 1
    ]
    place = place_in_call(
        call.inputs.index,
        batch=None if "batch item" in every else batch,
        head=None if "head" in every else head,
        query=row,
    )
    where = f" in any {' or '.join(every)}" if every else ""
    have = "has" if empty.total == 1 else "have"
    message = f"{counted(empty.total, 'query row')} {have} no visible key{where}: {_what_happens(call)}"
    hint = "Give the row a key to attend to, or do not read its output."
    return EMPTY_ROW.finding(message, place, empty.total, hint)


def _what_happens(call: Call) -> str:
    """What this call makes of such a row, and what other conventions do."""
    rules = call.inputs.rules
    value, others = rules.mask.value, "nn.MultiheadAttention gives NaN or, training without weights, 0"
    if rules.sinks is not None:
        rest = "" if value is None else f" but for what the mask value {value:g} leaves to hidden keys"
        return f"all weight is on the sink and the output is 0{rest}; without a sink, {others}"
    if value is not None:
        return (
            f"the mask value {value:g} makes all hidden keys alike, as d2l's masked_softmax does; "
            f"scaled_dot_product_attention gives 0, {others}"
        )
    return (
        f"weights and output are 0, as with scaled_dot_product_attention; {others}, a finite mask constant (d2l: -1e6) "
        "uniform weights"
    )


def _first_key(marked: Tensor) -> int | None:
    return first_of(marked) if bool(marked.any()) else None
