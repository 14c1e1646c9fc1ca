"""ATTN001 to ATTN003 and ATTN005: what every inspection looks for; ``attn run`` shows it too."""

from __future__ import annotations

from dataclasses import dataclass

from attn_cli.checks.evidence import Evidence
from attn_cli.inspection.findings.rules import Rule
from attn_cli.inspection.types import Finding


@dataclass(frozen=True)
class Inspected:
    """A rule whose findings the inspection brings along."""

    rule: Rule

    def find(self, evidence: Evidence) -> tuple[Finding, ...]:
        """Those of this rule."""
        return tuple(finding for finding in evidence.inspection.findings if finding.code == self.rule.code)
