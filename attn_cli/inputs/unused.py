"""Tensors of a file that were left alone, and those among them that were perhaps meant."""

from __future__ import annotations

from typing import Literal

from attn_cli.inputs.names import MASK, OUTPUT, WEIGHTS, role_of, split_name
from attn_cli.inputs.types import CallRecord, TensorInfo

Resemblance = Literal["mask", "result"]
RESULTS = ("output", "context", "attn_out", "attention_out", "attn_weights", "attention_weights", "probs")


def left_alone(call: CallRecord) -> tuple[TensorInfo, ...]:
    """The tensors of a call's file that no call uses, and what was recorded of this one but does not fit it."""
    return (*(info for info in call.tensors if info.role is None), *call.unused)


def resemblance(info: TensorInfo) -> Resemblance | None:
    """What a tensor is to all appearances, by its name and its axes; None for any other."""
    leaf = split_name(info.name)[1].lower()
    if len(info.shape) < 2:
        return None
    if MASK in leaf:
        return "mask"
    is_result = role_of(leaf) in (OUTPUT, WEIGHTS) or any(part in leaf for part in RESULTS)
    return "result" if is_result else None
