"""What a user should know, worst first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.text import Text

from attn_cli.inspection.types import Finding, Place, Severity
from attn_cli.reporters.terminal.canvas import Canvas
from attn_cli.reporters.terminal.palette import GOOD, SEVERITY_STYLES
from attn_cli.reporters.terminal.text import count

_SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")


def print_findings(canvas: Canvas, findings: Sequence[Finding], most: int | None = None, where_more: str = "") -> None:
    """Every finding with its place, its cause and its remedy.

    Args:
        canvas: where to.
        findings: in any order.
        most: how many to print; None is all.
        where_more: how to see the rest, where there is one.
    """
    if not findings:
        canvas.line()
        canvas.line(canvas.text("No findings", GOOD))
        return
    canvas.heading("Findings", severities_text(findings))
    ordered = worst_first(findings)
    for finding in ordered[:most]:
        print_finding(canvas, finding)
    if most is not None and len(ordered) > most:
        canvas.paragraph(canvas.text(f"and {len(ordered) - most} more: {where_more}", "dim"), indent=2, hanging=2)


def worst_first(findings: Sequence[Finding]) -> list[Finding]:
    """Errors, then warnings, then notes, each in the order they had."""
    return sorted(findings, key=lambda finding: _SEVERITIES.index(finding.severity))


def severities_text(findings: Sequence[Finding]) -> str:
    """``1 error, 2 warnings, 1 note``, as far as there are any."""
    counts = Counter(finding.severity for finding in findings)
    nouns = {"error": "error", "warning": "warning", "info": "note"}
    return ", ".join(count(counts[one], nouns[one]) for one in _SEVERITIES if counts[one])


def badge(canvas: Canvas, severity: Severity) -> Text:
    """A severity in its colours."""
    return canvas.text(f" {severity} ", SEVERITY_STYLES.get(severity, "bold"))


def print_finding(canvas: Canvas, finding: Finding) -> None:
    """Severity, code and place on a line, then the cause, then the remedy."""
    head = [badge(canvas, finding.severity), canvas.text(finding.code, "bold"), _where(canvas, finding)]
    canvas.paragraph(canvas.join(head, "  "), indent=1, hanging=2)
    canvas.paragraph(canvas.text(finding.message), indent=3)
    if finding.hint:
        canvas.paragraph(canvas.join([canvas.text("hint:", "bold"), canvas.text(finding.hint)]), indent=3, hanging=2)


def _where(canvas: Canvas, finding: Finding) -> Text:
    places = place_text(finding.place, finding.layer)
    if finding.count is not None and finding.count > 1:
        places = f"{places} (the first of {finding.count} places)" if places else f"{finding.count} places"
    return canvas.text(places)


def place_text(place: Place, layer: int | None = None) -> str:
    """``layer 3, batch 0, head 5, query 17``, as much of it as applies."""
    numbers = [(name, getattr(place, name)) for name in ("batch", "head", "query", "key", "feature")]
    parts = [] if layer is None else [f"layer {layer}"]
    parts.extend([] if place.tensor is None else [f"tensor {place.tensor}"])
    parts.extend(f"{name} {number}" for name, number in numbers if number is not None)
    return ", ".join(parts)
