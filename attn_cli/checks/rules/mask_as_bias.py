"""ATTN009: numbers that are added to the logits and look like a mask."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from attn_cli.attention.blocks import row_blocks
from attn_cli.attention.masks import HIDING
from attn_cli.attention.types import Rules
from attn_cli.checks.cells import CELLS_AT_ONCE
from attn_cli.checks.evidence import Evidence
from attn_cli.checks.patterns import hiding_constants
from attn_cli.checks.readings import both_readings, with_numbers
from attn_cli.inspection.findings.rules import Rule
from attn_cli.inspection.types import Finding, Place

MASK_AS_BIAS = Rule(
    code="ATTN009",
    name="numbers added that look like a mask",
    severity="warning",
    sentence="A bias holds 0 and 1 alone, 0 and -1 alone, or 0 and large positive numbers.",
    why="A float mask is added to the logits. A 1 where a key may be attended to makes its logit larger by 1 and hides "
    "nothing; a constant with the wrong sign gives all weight to the keys that it was to hide.",
    example="mask.float() instead of mask is given to scaled_dot_product_attention: padding keeps exp(-1) = 37 % of "
    "the weight that a token would get.",
    source="PyTorch, scaled_dot_product_attention: attn_mask of a float dtype is added to the scores",
)


@dataclass(frozen=True)
class _Kind:
    """One way to look like a mask.

    Attributes:
        what: what the bias holds and does.
        hidden: which of its cells were to be hidden.
        hint: the remedy.
    """

    what: str
    hidden: Tensor
    hint: str


@dataclass(frozen=True)
class MaskAsBias:
    """Looks at the numbers of the bias; a bias of many different ones is none of its business."""

    rule: Rule = MASK_AS_BIAS

    def find(self, evidence: Evidence) -> Iterator[Finding]:
        """At most one finding."""
        bias = evidence.inputs.rules.bias
        kind = None if bias is None else _kind(bias)
        if bias is None or kind is None or not _varies_along_keys(kind.hidden):
            return
        first = kind.hidden.nonzero()[0].tolist()
        index = evidence.index
        numbers = (index.batch, index.heads, index.queries.tolist(), range(bias.shape[3]))
        place = [own[at] if size > 1 else None for own, at, size in zip(numbers, first, bias.shape, strict=True)]
        message = f"{kind.what}: {both_readings(evidence, _as_mask(evidence.inputs.rules, kind.hidden), 'as a mask')}"
        yield self.rule.finding(message, Place("bias", *place), int(kind.hidden.sum()), kind.hint)


def _kind(bias: Tensor) -> _Kind | None:
    largest = float(bias.amax())
    if largest >= -HIDING:
        return _wrong_sign(bias, largest)
    numbers = hiding_constants(bias, highest=math.inf)
    if numbers == (0.0, 1.0):
        what = "the bias holds 1 and 0 alone, which hide nothing"
        return _Kind(what, bias == 0, "Give the mask as booleans, or put 0 where the 1 is and -inf where the 0 is.")
    if numbers == (-1.0, 0.0):
        what = "the bias holds 0 and -1 alone, which hide nothing"
        return _Kind(what, bias == -1, "Give the mask as booleans, or put -inf where the -1 is.")
    return None


def _wrong_sign(bias: Tensor, largest: float) -> _Kind | None:
    """0 and large positive numbers; +∞ counts as one."""
    finite = torch.where(bias == math.inf, 0.0, bias)
    numbers = hiding_constants(finite, highest=math.inf)
    if not numbers or any(number < -HIDING and number != 0 for number in numbers):
        return None
    what = f"the bias holds {largest:g}, which draws all weight to the keys it was to hide"
    return _Kind(what, bias >= -HIDING, "Change the sign: what is added to hide a key is -inf, or large and negative.")


def _varies_along_keys(hidden: Tensor) -> bool:
    """Whether some row has both; the same number on all keys of a row changes nothing."""
    for rows in row_blocks(hidden.shape[2], hidden[:, :, :1].numel(), CELLS_AT_ONCE):
        block = hidden[:, :, rows]
        if bool((block.any(dim=-1) & ~block.all(dim=-1)).any()):
            return True
    return False


def _as_mask(rules: Rules, hidden: Tensor) -> Rules:
    """The same rules with the bias read as the mask that it looks like."""
    keep = ~hidden if rules.mask.keep is None else rules.mask.keep & ~hidden
    return with_numbers(replace(rules, bias=None), "mask", keep)
