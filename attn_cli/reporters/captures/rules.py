"""The rules of a call as a file holds them: tensors, and metadata for what is no tensor."""

from __future__ import annotations

from torch import Tensor

from attn_cli.attention.types import Rules
from attn_cli.inputs.names import BIAS, MASK, SINKS, VALID_LENS
from attn_cli.inputs.settings import BOTTOM_RIGHT


def rule_tensors(rules: Rules) -> dict[str, Tensor]:
    """Lengths, mask, bias and sinks, those that there are."""
    named = {VALID_LENS: rules.mask.valid_lens, MASK: rules.mask.keep, BIAS: rules.bias, SINKS: rules.sinks}
    return {name: x for name, x in named.items() if x is not None}


def rule_metadata(rules: Rules, align: str, *, is_chosen: bool) -> dict[str, str]:
    """What ``attn run`` reads back; what it would assume anyway is left out.

    Args:
        rules: of the call.
        align: ``"bottom-right"``, ``"top-left"`` or ``"offset N"``.
        is_chosen: whether somebody chose it.
    """
    mask = rules.mask
    texts = {} if not mask.causal else {"causal": "true"}
    is_placed = mask.causal or mask.window is not None
    if align != BOTTOM_RIGHT or (
        is_placed and is_chosen
    ):  # metrics use the places even where nothing is hidden by them
        texts["causal_align"] = align.removeprefix("offset ")
    if mask.window is not None:
        texts["window"] = ",".join(map(str, mask.window))
    numbers = {"scale": rules.scale, "softcap": rules.softcap, "mask_value": mask.value}
    return {**texts, **{name: repr(number) for name, number in numbers.items() if number is not None}}
