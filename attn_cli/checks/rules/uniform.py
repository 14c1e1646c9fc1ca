"""ATTN016: heads that attend to all visible keys alike."""

from __future__ import annotations

from attn_cli.checks.evidence import Evidence
from attn_cli.checks.spread import UNIFORM, counted_heads
from attn_cli.inspection.findings.rules import Rule, place_in_call
from attn_cli.inspection.types import Finding

SMALLEST_DIM = 4  # of fewer numbers q may be nearly 0 by chance: then the logits must not differ at all
FREEDOM = 4  # Σᵢ (nᵢ − 1): by chance normal logits stay below 0.05 in one of 80 000 such heads


class Uniform:
    """Looks at the deviation of a row's logits, after softcap and bias, over the keys it sees."""

    rule = Rule(
        code="ATTN016",
        name="head attends uniformly",
        severity="info",
        sentence="The logits of a head hardly differ within a row, so that every visible key gets the same weight.",
        why="Such a head computes the mean of V, whatever the query is. It is what a head does before training, and "
        "what is left when q or k carries nothing.",
        example="Keys that are all the same, a query of zeros, a scale of 0.",
        source="Zhang et al., Dive into Deep Learning, 11.3 (keys of ones give uniform weights)",
    )

    def find(self, evidence: Evidence) -> tuple[Finding, ...]:
        """One finding with the first such head and what makes it so."""
        spread = evidence.spread
        limit = UNIFORM if evidence.inputs.q.shape[3] >= SMALLEST_DIM else 0.0
        uniform = (spread.final <= limit) & (spread.freedom >= FREEDOM)
        if not bool(uniform.any()):
            return ()
        number = int(uniform.sum())
        batch, head = (int(axis) for axis in uniform.nonzero()[0])
        message = (
            f"{counted_heads(number, uniform.shape)} attend uniformly: their logits differ within a row "
            f"by a standard deviation of at most {float(spread.final[uniform].max()):.2g}; in the first, "
            f"{_cause(evidence, batch, head)}"
        )
        hint = "If it is not meant so, check that q and k are what this layer projects, and the scale."
        return (self.rule.finding(message, place_in_call(evidence.index, None, batch, head), number, hint),)


def _cause(evidence: Evidence, batch: int, head: int) -> str:
    inputs = evidence.inputs
    q = inputs.q[batch, head]
    k = inputs.k[batch, head // (inputs.q.shape[1] // inputs.k.shape[1])]  # (Sk, D)
    if inputs.scale == 0:
        return "the scale is 0"
    if not bool(q.any()):
        return "q is 0"
    if bool((k == k[:1]).all()):
        return "all keys are the same vector"
    return "q·k is nearly the same for all keys"
