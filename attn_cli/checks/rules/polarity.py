"""ATTN008: a mask or an additive mask that looks as if it were read the wrong way round."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from attn_cli.checks.evidence import Evidence
from attn_cli.checks.inversion import Sign, first_sign
from attn_cli.checks.patterns import Pattern
from attn_cli.checks.readings import both_readings, inverted
from attn_cli.inputs.types import Convention
from attn_cli.inspection.findings.rules import Rule
from attn_cli.inspection.types import Finding

MASK_POLARITY = Rule(
    code="ATTN008",
    name="mask polarity looks inverted",
    severity="warning",
    sentence="A mask hides what masks show: each query sees the future alone, padding is visible while tokens are "
    "hidden, causal order hides the diagonal, or everything is hidden.",
    why="True means 'may attend' to scaled_dot_product_attention and 'hidden' to nn.MultiheadAttention. Read the wrong "
    "way round, a model attends to padding or to the future alone, and nothing fails.",
    example="torch.ones(S, S).triu(1).bool(), which says what nn.MultiheadAttention hides, is given to "
    "scaled_dot_product_attention: each query sees the keys behind its own place alone, and the last one none.",
    source="PyTorch issue 170415; TransformerEngine issue 614",
)


@dataclass(frozen=True)
class MaskPolarity:
    """Looks at the mask and at the bias, each by itself, as the file has them."""

    rule: Rule = MASK_POLARITY

    def find(self, evidence: Evidence) -> Iterator[Finding]:
        """At most one finding for the mask and one for the bias."""
        for pattern in evidence.patterns:
            sign = first_sign(pattern, evidence.call)
            if sign is not None:
                yield self._finding(evidence, pattern, sign)

    def _finding(self, evidence: Evidence, pattern: Pattern, sign: Sign) -> Finding:
        said = _said(evidence, pattern)
        other = both_readings(evidence, inverted(evidence.inputs.rules, pattern.name))
        message = f"{_name(pattern, said)} {sign.what}: {other}"
        place = replace(sign.place, tensor=pattern.name)
        return self.rule.finding(message, place, sign.count, sign.hint or _hint(said), sign.severity)


def _said(evidence: Evidence, pattern: Pattern) -> Convention | None:
    """How the mask was read."""
    masks = (one for one in evidence.call.conventions if one.name == "mask")
    return next(masks, None) if pattern.name == "mask" else None


def _name(pattern: Pattern, said: Convention | None) -> str:
    if said is None:
        return f"the {pattern.name}"
    meaning = said.value.split(": ")[-1].split(", ")[0]  # "True = may attend"
    return f"the mask ({meaning}, {said.origin})"


def _hint(said: Convention | None) -> str:
    if said is None:
        return "Swap its numbers where it is made: 0 where a key may be attended to, -inf where it is hidden."
    if said.origin == "file":
        return "Invert the mask where it is made: its 1 stands for a key that may be attended to."
    if "hidden" in said.value:
        return "Leave out --mask-polarity drop if True means that a key may be attended to."
    return "Add --mask-polarity drop if True means hidden, as in nn.MultiheadAttention."
