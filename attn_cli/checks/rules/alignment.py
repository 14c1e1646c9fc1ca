"""ATTN004: causal order or a window stands at places that nobody chose."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from attn_cli.checks.evidence import Evidence
from attn_cli.checks.readings import output_change
from attn_cli.inspection.findings.alignment import other_alignment, realigned
from attn_cli.inspection.findings.rules import UNDECIDED_ALIGNMENT, Rule
from attn_cli.inspection.types import Finding


@dataclass(frozen=True)
class UndecidedAlignment:
    """The finding of every inspection, with what the other alignment does to the output."""

    rule: Rule = UNDECIDED_ALIGNMENT

    def find(self, evidence: Evidence) -> Iterator[Finding]:
        """The finding, where there is one; what it costs is one more pass over the scores."""
        for finding in evidence.inspection.findings:
            if finding.code == self.rule.code:
                inputs = evidence.inputs
                mask = realigned(inputs, other_alignment(evidence.call.align))
                change = output_change(evidence, replace(inputs.rules, mask=mask))
                more = "" if change is None else f"; the output {change.text}"
                yield replace(finding, message=finding.message + more)
