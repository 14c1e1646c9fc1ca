"""What every document tells of an attention call and of what was found in it."""

from __future__ import annotations

from typing import Any, Protocol

from attn_cli.inputs.types import CallRecord
from attn_cli.inspection.types import Finding

Entry = dict[str, Any]
PLACES = ("tensor", "batch", "head", "query", "key", "feature")


class Named(Protocol):
    """An attention call by its names."""

    @property
    def layer(self) -> int | None:
        """The layer's number, or None."""

    @property
    def prefix(self) -> str:
        """What stands before the names of its tensors; empty where nothing does."""


def finding_entry(finding: Finding, call: Named, file: str | None = None) -> Entry:
    """One finding in the contract's form; what does not apply is left out.

    Args:
        finding: what was found.
        call: the attention call it was found in.
        file: where that was read from, in documents that tell of several files.
    """
    layer = call.layer if finding.layer is None else finding.layer
    entry: Entry = {"code": finding.code, "severity": finding.severity, "message": finding.message}
    known = {"file": file, "layer": layer, "prefix": call.prefix or None}
    known |= {name: getattr(finding.place, name) for name in PLACES}
    known |= {"count": finding.count, "hint": finding.hint}
    return entry | {name: value for name, value in known.items() if value is not None}


def convention_entries(call: CallRecord) -> list[Entry]:
    """How the call was read, and who chose that."""
    return [{"name": one.name, "value": one.value, "origin": one.origin} for one in call.conventions]
