"""The findings of several calls: the same one in several layers is told once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from attn_cli.inputs.types import CallRecord
from attn_cli.inspection.types import Finding
from attn_cli.reporters.terminal.labels import call_name, has_own_layer
from attn_cli.reporters.terminal.text import ranges

Found = tuple[CallRecord, Finding]


def merged_findings(found: Sequence[Found], calls: Sequence[CallRecord]) -> list[Finding]:
    """Every finding with its layer or prefix; the same one in several calls once.

    Args:
        found: the findings, each with its call.
        calls: all calls of the file, whose names it takes to tell them apart.
    """
    groups: dict[tuple[object, ...], list[Found]] = {}
    for call, finding in found:
        key = (finding.code, finding.severity, finding.message, finding.place, finding.count, finding.hint)
        groups.setdefault(key, []).append((call, finding))
    return [_merged(group, calls) for group in groups.values()]


def _merged(group: Sequence[Found], calls: Sequence[CallRecord]) -> Finding:
    """One finding for all calls of the group, with their layers or prefixes."""
    call, finding = group[0]
    if len(calls) == 1:
        return replace(finding, layer=call.layer)
    known = [one.layer for one, _ in group if one.layer is not None and has_own_layer(one, calls)]
    if len(known) < len(group):
        prefixes = ", ".join(call_name(one, calls) for one, _ in group)
        return replace(finding, message=f"{finding.message} (in {prefixes})")
    if len(group) == 1:
        return replace(finding, layer=call.layer)
    return replace(finding, layer=None, message=f"{finding.message} (in layers {ranges(known)})")
