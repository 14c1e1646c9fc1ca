"""ATTN001: numbers in the inputs that are not finite."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from attn_cli.attention.types import AttentionInputs
from attn_cli.inspection.findings.broken import INPUT_HINT
from attn_cli.inspection.findings.rules import NONFINITE_INPUT, counted, place_in_call
from attn_cli.inspection.types import Finding, Place


def input_findings(inputs: AttentionInputs, *, known_finite: bool = False) -> tuple[Finding, ...]:
    """One finding for every tensor with numbers that are not finite, with their count and the first place.

    A −∞ in bias or sinks is no fault: it hides a key, or switches a sink off.

    Args:
        inputs: the call.
        known_finite: q, k and v were found to be finite before.
    """
    rules, projection = inputs.rules, inputs.output_projection
    findings = [
        None if known_finite else _query_finding(inputs),
        None if known_finite else _key_finding(inputs, "k", inputs.k),
        None if known_finite else _key_finding(inputs, "v", inputs.v),
        None if rules.bias is None else _bias_finding(inputs, rules.bias),
        None if rules.sinks is None else _sinks_finding(inputs, rules.sinks),
        None if projection is None else _projection_finding("weight", projection.weight),
        None if projection is None else _projection_finding("bias", projection.bias),
    ]
    return tuple(finding for finding in findings if finding is not None)


def widened(x: Tensor) -> Tensor:
    """``x``, or float32 of it where PyTorch cannot tell whether it is finite: of eight-bit floats."""
    return x.to(torch.float32) if x.dtype.itemsize == 1 else x


def is_finite(x: Tensor) -> bool:
    """Whether ``x`` holds finite numbers alone, found without a tensor of its size."""
    return all(bool(end.isfinite()) for end in torch.aminmax(x))


def _query_finding(inputs: AttentionInputs) -> Finding | None:
    if is_finite(inputs.q):
        return None
    faults = ~inputs.q.isfinite()
    rows = faults.any(dim=-1)  # (B, Hq, Sq)
    if not bool(rows.any()):
        return None
    batch, head, query = first_place(rows)
    feature = first_place(faults[batch, head, query])[0]
    number = counted(int(rows.sum()), "query row")
    message = f"q holds {what_is_bad(inputs.q, faults)} in {number}, {_at(feature, faults)}"
    place = replace(place_in_call(inputs.index, "q", batch, head, query), feature=feature)
    return NONFINITE_INPUT.finding(message, place, int(rows.sum()), INPUT_HINT)


def _key_finding(inputs: AttentionInputs, name: str, x: Tensor) -> Finding | None:
    """For K and V the head is a key/value head; where query heads were selected, its own number is not known."""
    if is_finite(x):
        return None
    faults = ~x.isfinite()
    rows = faults.any(dim=-1)  # (B, Hkv, Sk)
    if not bool(rows.any()):
        return None
    batch, head, key = first_place(rows)
    index, groups = inputs.index, inputs.q.shape[1] // x.shape[1]
    feature = first_place(faults[batch, head, key])[0]
    place = replace(place_in_call(index, name, batch=batch, key=key), feature=feature)
    where = ""
    if index.has_every_head and list(index.heads) == sorted(index.heads):
        place = replace(place, head=head)
        where = " (its head is a key/value head)" if groups > 1 else ""
    else:
        where = f" (first in the key/value head that query head {index.heads[head * groups]} reads)"
    number = counted(int(rows.sum()), "key")
    message = f"{name} holds {what_is_bad(x, faults)} at {number}, {_at(feature, faults)}{where}"
    return NONFINITE_INPUT.finding(message, place, int(rows.sum()), INPUT_HINT)


def _bias_finding(inputs: AttentionInputs, bias: Tensor) -> Finding | None:
    faults = bias.isnan() | (bias == torch.inf)
    if not bool(faults.any()):
        return None
    place = [
        None if size == 1 and whole > 1 else number
        for number, size, whole in zip(first_place(faults), bias.shape, inputs.weights_shape, strict=True)
    ]
    message = f"bias holds {what_is_bad(bias, faults)}"
    place_of_bias = place_in_call(inputs.index, "bias", *place)
    return NONFINITE_INPUT.finding(message, place_of_bias, int(faults.sum()), INPUT_HINT)


def _sinks_finding(inputs: AttentionInputs, sinks: Tensor) -> Finding | None:
    faults = sinks.isnan() | (sinks == torch.inf)
    if not bool(faults.any()):
        return None
    place = place_in_call(inputs.index, "sinks", head=first_place(faults)[0])
    return NONFINITE_INPUT.finding(f"sinks hold {what_is_bad(sinks, faults)}", place, int(faults.sum()), INPUT_HINT)


def _projection_finding(part: str, x: Tensor | None) -> Finding | None:
    if x is None or is_finite(x):
        return None
    faults = ~x.isfinite()
    message = f"the output projection's {part} holds {what_is_bad(x, faults)}"
    return NONFINITE_INPUT.finding(message, Place(tensor=f"W_o.{part}"), int(faults.sum()), INPUT_HINT)


def first_place(marked: Tensor) -> list[int]:
    """Where the first True is, in the order of the axes."""
    flat = int(marked.flatten().to(torch.int8).argmax())
    place: list[int] = []
    for size in reversed(marked.shape):
        flat, number = divmod(flat, size)
        place.insert(0, number)
    return place


def _at(feature: int, faults: Tensor) -> str:
    """Which feature the only, or the first, bad number is."""
    return f"{'' if int(faults.sum()) == 1 else 'the first '}in feature {feature}"


def what_is_bad(x: Tensor, faults: Tensor) -> str:
    """``2 NaN and 1 infinite value``."""
    nans = int((x.isnan() & faults).sum())
    infinite = int(faults.sum()) - nans
    parts = [f"{nans} NaN" if nans else "", counted(infinite, "infinite value") if infinite else ""]
    return " and ".join(part for part in parts if part)
