"""ATTN012: valid lengths without effect, or counted from the wrong end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from attn_cli.attention.masks import MaskRule
from attn_cli.checks.evidence import Evidence
from attn_cli.checks.patterns import Pattern, count_seen
from attn_cli.inspection.findings.rules import Rule
from attn_cli.inspection.types import Finding, Place, Severity

NAME = "valid_lens"
IDLE_LENGTHS = Rule(
    code="ATTN012",
    name="valid lengths without effect",
    severity="warning",
    sentence="Valid lengths exclude every key, or count from the first key while a mask hides padding on the left. "
    "That they exclude nothing, or nothing that other rules leave, is told as info.",
    why="Lengths that exclude nothing are often those of the padded tensors, and lengths of 0 leave nothing to attend "
    "to. Neither fails.",
    example="valid_lens of a batch padded to 128 is [128, 128]: taken from the tensor's shape, not from the texts.",
    source="Zhang et al., Dive into Deep Learning, 11.3 (masked_softmax)",
)


@dataclass(frozen=True)
class IdleLengths:
    """Looks at the whole call's valid lengths, and beside them at its mask."""

    rule: Rule = IDLE_LENGTHS

    def find(self, evidence: Evidence) -> Iterator[Finding]:
        """At most one finding."""
        mask = evidence.call.inputs.rules.mask
        lens = mask.valid_lens
        if lens is None:
            return
        found = _of_numbers(lens, mask) or _of_left_padding(lens, evidence.patterns) or _of_masks(evidence)
        if found is not None:
            severity, message, hint, place = found
            yield self.rule.finding(message, place, lens.numel(), hint, severity)


_Found = tuple[Severity, str, str, Place] | None


def _of_numbers(lens: Tensor, mask: MaskRule) -> _Found:
    if not bool(lens.any()):
        message = "all valid lengths are 0: no query may attend to any key"
        return "warning", message, "Give the number of keys that are no padding, from 1 to Sk.", Place(NAME, batch=0)
    if bool((lens == mask.num_keys).all()):
        message = f"all valid lengths are {mask.num_keys}, the number of keys: they exclude nothing"
        hint = "Nothing is wrong if no batch item is padded; else give the lengths before padding."
        return "info", message, hint, Place(NAME)
    return None


def _of_left_padding(lens: Tensor, patterns: tuple[Pattern, ...]) -> _Found:
    """Lengths that are as many as the mask's visible keys, which stand at the other end."""
    if lens.dim() == 2:
        return None
    lens = lens.cpu()
    for pattern in patterns:
        seen = pattern.visible
        if not seen.is_same_for_every_query or seen.count.shape[0] != len(lens) or seen.count.shape[1] > 1:
            continue
        count, padded = seen.count[:, 0, 0], seen.first[:, 0, 0]
        if bool((count == lens).all()) and bool(seen.is_suffix.all()) and bool((padded > 0).any()):
            item = int((padded > 0).to(torch.int8).argmax())
            length = int(lens[item])
            message = (
                f"valid lengths count from the first key, but {pattern.label} shows as many keys at the other end: "
                f"of batch item {item} it hides the first {int(padded[item])}, and the length {length} hides the last "
                f"{seen.num_keys - length}"
            )
            hint = f"With padding on the left, leave the valid lengths out: {pattern.label} says it all."
            return "warning", message, hint, Place(NAME, batch=item)
    return None


def _of_masks(evidence: Evidence) -> _Found:
    """Lengths that hide nothing but what mask, bias, causal order or window hide anyway."""
    mask = evidence.call.inputs.rules.mask
    without = count_seen(replace(mask, valid_lens=None), evidence.patterns)
    if not bool((count_seen(mask, evidence.patterns) == without).all()):
        return None
    message = "the valid lengths hide no key that the mask, the bias, causal order or the window leave visible"
    return "info", message, "Nothing is wrong if both are to say the same; else one of them is off.", Place(NAME)
