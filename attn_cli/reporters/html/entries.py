"""What pages of runs, checks and comparisons tell alike: numbers and findings."""

from __future__ import annotations

import math
from typing import Any

from attn_cli.inspection.types import Finding

MOST_FINDINGS = 300
DIGITS = 7  # of a float32: enough for a page


def rounded(value: float | int | None, digits: int = DIGITS) -> float | int | None:
    """A float with so many digits; None where it is not finite."""
    if not isinstance(value, float):
        return value
    return float(f"{value:.{digits}g}") if math.isfinite(value) else None


def finding_entry(finding: Finding, call: int | None, layer: int | None, message: str | None = None) -> dict[str, Any]:
    """A finding, and the call and layer that it leads to.

    Args:
        finding: with its place in numbers of the whole call.
        call: the place of its call on the page, or None.
        layer: the number of its layer, or None.
        message: in the place of its own; None keeps that.
    """
    names = ("tensor", "batch", "head", "query", "key", "feature")
    return {
        "code": finding.code,
        "severity": finding.severity,
        "message": finding.message if message is None else message,
        "hint": finding.hint,
        "call": call,
        "layer": layer,
        **{name: getattr(finding.place, name) for name in names},
        "count": finding.count,
    }
