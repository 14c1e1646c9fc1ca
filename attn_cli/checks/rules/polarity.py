"""ATTN008: a mask or an additive mask that looks as if it were read the wrong way round."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from attn_cli.checks.evidence import Evidence
from attn_cli.checks.inversion import Sign, first_sign
from attn_cli.checks.patterns import BIAS, MASK, Pattern
from attn_cli.checks.readings import both_readings, rules_with
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
MAKE_IT_OTHERWISE = "Invert this mask where it is made: the others look right as they are read."


@dataclass(frozen=True)
class MaskPolarity:
    """Looks at every mask and every bias by itself, as the file has them."""

    rule: Rule = MASK_POLARITY

    def find(self, evidence: Evidence) -> Iterator[Finding]:
        """At most one finding for the masks and one for the biases, that of the first which shows a sign."""
        for kind in (MASK, BIAS):
            patterns = [pattern for pattern in evidence.patterns if pattern.kind == kind]
            signs = ((pattern, first_sign(pattern, evidence.call)) for pattern in patterns)
            found = next(((pattern, sign) for pattern, sign in signs if sign is not None), None)
            if found is not None:
                yield self._finding(evidence, *found)

    def _finding(self, evidence: Evidence, pattern: Pattern, sign: Sign) -> Finding:
        said, others = _said(evidence, pattern), _inverted(evidence, pattern)
        how = "the other way round" if len(others) == 1 else "with all masks the other way round"
        other = both_readings(evidence, rules_with(evidence, others), how)
        message = f"{_name(pattern, said)} {sign.what}: {other}"
        place = replace(sign.place, tensor=pattern.name)
        hint = sign.hint or (_hint(said) if _is_flag(evidence, pattern, others) else MAKE_IT_OTHERWISE)
        return self.rule.finding(message, place, sign.count, hint, sign.severity)


def _inverted(evidence: Evidence, pattern: Pattern) -> dict[Pattern, Pattern]:
    """A pattern read the other way round, and with a mask those that one flag governs, unless it would break them."""
    alone = {pattern: pattern.inverted()}
    governed = [part for part in evidence.parts if part.kind == MASK and not part.has_own_polarity]
    if pattern not in governed:
        return alone
    together = {part: part.inverted() for part in governed}
    looks_right = all(first_sign(other, evidence.call) is None for other in together.values())
    return together if looks_right else alone


def _is_flag(evidence: Evidence, pattern: Pattern, others: dict[Pattern, Pattern]) -> bool:
    """Whether the other polarity for all masks gives what the finding tells."""
    masks = [part for part in evidence.parts if part.kind == MASK and not part.has_own_polarity]
    return pattern.kind != MASK or pattern.has_own_polarity or len(others) == len(masks)


def _said(evidence: Evidence, pattern: Pattern) -> Convention | None:
    """How the mask was read; masks are told in the order of the tensors."""
    if pattern.kind != MASK:
        return None
    number = [part for part in evidence.parts if part.kind == MASK].index(pattern)
    masks = [one for one in evidence.call.conventions if one.name == "mask"]
    return masks[number] if number < len(masks) else None


def _name(pattern: Pattern, said: Convention | None) -> str:
    if said is None:
        return pattern.label
    meaning = said.value.split(": ")[-1].split(", ")[0]  # "True = may attend"
    return f"{pattern.label} ({meaning}, {said.origin})"


def _hint(said: Convention | None) -> str:
    if said is None:
        return "Swap its numbers where it is made: 0 where a key may be attended to, -inf where it is hidden."
    if said.origin == "file":
        meaning = "is hidden" if "hidden" in said.value else "may be attended to"
        return f"Invert the mask where it is made: its 1 stands for a key that {meaning}."
    if "hidden" in said.value:
        return "Leave out --mask-polarity drop if True means that a key may be attended to."
    return "Add --mask-polarity drop if True means hidden, as in nn.MultiheadAttention."
