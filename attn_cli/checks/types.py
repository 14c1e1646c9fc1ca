"""What ``attn check`` is made of: rules that look at evidence, and what they found."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from attn_cli.inputs.types import CallRecord
from attn_cli.inspection.findings.rules import Rule
from attn_cli.inspection.types import Finding
from attn_cli.results import CallResult

if TYPE_CHECKING:
    from attn_cli.checks.evidence import Evidence


class Check(Protocol):
    """One rule and how to look for it. Adding one is one file in ``checks/rules`` and one entry in ``checks``."""

    @property
    def rule(self) -> Rule:
        """Its code, and what there is to know about it."""

    def find(self, evidence: Evidence) -> Iterable[Finding]:
        """What is wrong with a call, most often nothing. It never raises on healthy or on broken numbers."""


@dataclass(frozen=True)
class CheckedCall:
    """One attention call and what was found in it.

    Attributes:
        call: how it was read.
        shape: ``(B, Hq, Sq, Sk)`` of what was checked.
        kv_heads, head_dim, value_dim: Hkv, D and Dv.
        device, dtype: that the kernel ran on and in.
        backend_requested, backend_ran: e.g. ``"auto"`` and ``"flash"``.
        kernel: PyTorch's own name of what ran.
        findings: in the order of the rules.
        shown: every head's picture and metrics, where they were asked for; its findings are those above.
    """

    call: CallRecord
    shape: tuple[int, int, int, int]
    kv_heads: int
    head_dim: int
    value_dim: int
    device: str
    dtype: str
    backend_requested: str
    backend_ran: str
    kernel: str
    findings: tuple[Finding, ...]
    shown: CallResult | None = None


@dataclass(frozen=True)
class CheckResult:
    """Everything that one ``attn check`` found.

    Attributes:
        calls: in the order of the files, then of their layers.
        rules: those that were asked for.
        left_out: those that were not.
        is_strict: True where warnings count as errors do.
    """

    calls: tuple[CheckedCall, ...]
    rules: tuple[Rule, ...]
    left_out: tuple[Rule, ...] = ()
    is_strict: bool = False

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The findings of all calls."""
        return tuple(finding for call in self.calls for finding in call.findings)

    @property
    def fails(self) -> bool:
        """True where an error was found; where it is strict, a warning."""
        bad = ("error", "warning") if self.is_strict else ("error",)
        return any(finding.severity in bad for finding in self.findings)
