"""What ``attn check`` tells in JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from attn_cli.checks.types import CheckedCall, CheckResult
from attn_cli.inputs.types import TensorInfo
from attn_cli.inputs.unused import left_alone, resemblance
from attn_cli.inspection.findings.rules import Rule
from attn_cli.inspection.types import Severity
from attn_cli.reporters.call_data import Entry, convention_entries, finding_entry

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")


def check_data(result: CheckResult) -> Entry:
    """The ``data`` of the document: what was checked, by which conventions and rules."""
    return {
        "files": list(dict.fromkeys(call.call.source for call in result.calls)),
        "calls": [_call(call) for call in result.calls],
        "rules": [{"code": rule.code, "name": rule.name, "severity": rule.severity} for rule in result.rules],
        "strict": result.is_strict,
    }


def rules_data(rules: Sequence[Rule]) -> Entry:
    """The same ``data`` for ``attn check --rule``: nothing was checked, and the rules are told whole."""
    return {"files": [], "calls": [], "rules": [_explained(rule) for rule in rules], "strict": False}


def checked_findings(result: CheckResult) -> list[Entry]:
    """The findings of all calls, each with its file."""
    return [finding_entry(one, call.call, call.call.source) for call in result.calls for one in call.findings]


def _call(call: CheckedCall) -> Entry:
    counts = Counter(finding.severity for finding in call.findings)
    backend = {"requested": call.backend_requested, "ran": call.backend_ran, "kernel": call.kernel}
    return {
        "file": call.call.source,
        "layer": call.call.layer,
        "prefix": call.call.prefix,
        "shape": list(call.shape),
        "kv_heads": call.kv_heads,
        "head_dim": call.head_dim,
        "value_dim": call.value_dim,
        "device": call.device,
        "dtype": call.dtype,
        "backend": backend,
        "conventions": convention_entries(call.call),
        "unused": [_unused(info) for info in left_alone(call.call)],
        "findings": {severity: counts[severity] for severity in SEVERITIES},
    }


def _unused(info: TensorInfo) -> Entry:
    return {"name": info.name, "shape": list(info.shape), "dtype": info.dtype, "looks_like": resemblance(info)}


def _explained(rule: Rule) -> Entry:
    return {
        "code": rule.code,
        "name": rule.name,
        "severity": rule.severity,
        "looks_for": rule.sentence,
        "why": rule.why,
        "example": rule.example,
        "source": rule.source,
    }
