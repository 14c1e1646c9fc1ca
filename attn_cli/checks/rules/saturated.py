"""ATTN015: a softmax that gives nearly all weight to one key, in most heads."""

from __future__ import annotations

import torch

from attn_cli.checks.evidence import Evidence
from attn_cli.checks.spread import counted_heads
from attn_cli.inspection.findings.rules import Rule, place_in_call
from attn_cli.inspection.types import Finding, Severity

SATURATED = 0.99  # of what uniform attention leaves: with two keys the other one has 0.005
MOST = 0.5  # of the heads; one head that looks at one key, like the previous token, is healthy
FREEDOM = 8  # Σᵢ (nᵢ − 1): a head with fewer choices than this says nothing


class Saturated:
    """Looks at the mean largest weight of every head (``confidence_above_uniform``)."""

    rule = Rule(
        code="ATTN015",
        name="softmax saturated",
        severity="warning",
        sentence="At least half of the heads give nearly all weight to one key in nearly every row.",
        why="Where a weight is 1 the softmax passes no gradient on, and a change of the logits changes nothing or "
        "everything. Single heads of this kind are healthy; most heads are so where logits are too large.",
        example="Logits without 1/√D, q and k that grew during training, or q and k before their norm.",
        source="Vaswani 2017, section 3.2.1; Zhai et al. 2023, arXiv 2303.06296 (entropy collapse)",
    )

    def find(self, evidence: Evidence) -> tuple[Finding, ...]:
        """One finding with the first such head; info where heads were left out, so that most of them is unknown."""
        confidence = evidence.inspection.metrics["confidence_above_uniform"]  # (B, Hq)
        saturated = confidence >= SATURATED
        if not bool(saturated.any()):
            return ()
        freedom = (evidence.seen_keys - 1).clamp(min=0).sum(dim=-1).expand(confidence.shape)  # (B, Hq)
        judged = (freedom >= FREEDOM) & confidence.isfinite()
        saturated = saturated & judged
        number, heads = int(saturated.sum()), int(judged.sum())
        if number == 0 or number < MOST * heads:
            return ()
        batch, head = (int(axis) for axis in saturated.nonzero()[0])
        largest = float(evidence.inspection.metrics["max_logit"].nan_to_num(-torch.inf).max())
        message = (
            f"{counted_heads(number, judged.shape)} give nearly all weight to one key: their largest "
            f"weight is on average {float(evidence.inspection.metrics['confidence'][saturated].mean()):.4f}; the "
            f"largest logit is {largest:.4g}"
        )
        hint = "Check the scale and how large q and k are."
        severity: Severity = "warning" if evidence.index.has_every_head else "info"
        return (self.rule.finding(message, place_in_call(evidence.index, None, batch, head), number, hint, severity),)
