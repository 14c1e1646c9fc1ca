"""What the user of an attention call should know, each kind with a stable code."""

from __future__ import annotations

from attn_cli.inspection.findings.alignment import alignment_finding
from attn_cli.inspection.findings.inputs import input_findings
from attn_cli.inspection.findings.module import module_findings
from attn_cli.inspection.findings.rows import empty_rows_finding, faulty_rows_finding
from attn_cli.inspection.findings.rules import RULES, Rule

__all__ = [
    "RULES",
    "Rule",
    "alignment_finding",
    "empty_rows_finding",
    "faulty_rows_finding",
    "input_findings",
    "module_findings",
]
