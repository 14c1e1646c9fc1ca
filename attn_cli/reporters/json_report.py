"""Every command's JSON: one envelope, one document, no number that JSON does not have.

Free of torch until a result is told, so that a failure is reported at once.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from attn_cli import __version__
from attn_cli.errors import AttnError

if TYPE_CHECKING:
    from attn_cli.benchmark.types import BenchReport
    from attn_cli.benchmark.usable import Usable
    from attn_cli.checks.types import CheckResult
    from attn_cli.differences.types import DiffResult
    from attn_cli.explanation.types import Explanation
    from attn_cli.inspection.findings.rules import Rule
    from attn_cli.results import RunResult

VERSION = 1
Document = dict[str, Any]


def run_document(result: RunResult) -> Document:
    """The document of ``attn run --json`` and ``attn demo --json``, as ``attn schema`` describes it.

    Args:
        result: at least one call.

    Returns:
        Only what JSON has: numbers that are not finite have become None.
    """
    from attn_cli.reporters.run_data import finding_entries, run_data

    findings = finding_entries(result)
    status = "findings" if findings else "ok"
    return _envelope(result.command, status, 0, data=run_data(result), findings=findings, error=None)


def check_document(result: CheckResult) -> Document:
    """The document of ``attn check --json``; the exit code is 1 where what was found fails the check."""
    from attn_cli.reporters.check_data import check_data, checked_findings

    findings = checked_findings(result)
    status, exit_code = "findings" if findings else "ok", int(result.fails)
    return _envelope("check", status, exit_code, data=check_data(result), findings=findings, error=None)


def rules_document(rules: Sequence[Rule]) -> Document:
    """The document of ``attn check --rule --json``: the rules in words, and nothing checked."""
    from attn_cli.reporters.check_data import rules_data

    return _envelope("check", "ok", 0, data=rules_data(rules), findings=[], error=None)


def explain_document(told: Explanation) -> Document:
    """The document of ``attn explain --json``."""
    from attn_cli.reporters.call_data import finding_entry
    from attn_cli.reporters.explain_data import explain_data

    findings = [finding_entry(finding, told.call) for finding in told.findings]
    status = "findings" if findings else "ok"
    return _envelope("explain", status, 0, data=explain_data(told), findings=findings, error=None)


def diff_document(result: DiffResult) -> Document:
    """The document of ``attn diff --json``; the exit code is 1 where something differs."""
    from attn_cli.reporters.diff_data import diff_data, diff_findings

    findings = diff_findings(result)
    status = "findings" if findings else "ok"
    return _envelope("diff", status, int(bool(findings)), data=diff_data(result), findings=findings, error=None)


def bench_document(report: BenchReport, exit_code: int = 0) -> Document:
    """The document of ``attn bench --json`` and ``--save``; the exit code is the process's."""
    from attn_cli.reporters.bench_data import bench_data

    return _envelope("bench", "ok", exit_code, data=bench_data(report), findings=[], error=None)


def devices_document(usable: Usable) -> Document:
    """The document of ``attn devices --json``."""
    from attn_cli.reporters.bench_data import devices_data

    return _envelope("devices", "ok", 0, data=devices_data(usable), findings=[], error=None)


def error_document(command: str, error: AttnError) -> Document:
    """The document of a command that failed; of what it did before, it tells no more than the findings."""
    told = {"code": error.code, "message": error.message, "hint": error.hint}
    return _envelope(command, "error", error.exit_code, data=None, findings=error.findings, error=told)


def write_document(document: Mapping[str, Any], stream: TextIO) -> None:
    """Write one document and a newline, in ASCII, which every encoding of the stream holds.

    Raises:
        ValueError: where a number is not finite.
    """
    text = json.dumps(document, allow_nan=False, ensure_ascii=True) + "\n"
    _Standard.is_begun = _Standard.is_begun or stream is sys.stdout
    stream.write(text)


class _Standard:
    """Whether standard output holds a document, or a part of one: there can be only one."""

    is_begun = False


def no_document_yet() -> None:
    """Nothing is written to standard output so far."""
    _Standard.is_begun = False


def is_document_begun() -> bool:
    """Whether standard output holds a document, or a part of one that could not be written to its end."""
    return _Standard.is_begun


def _envelope(command: str, status: str, exit_code: int, **parts: Any) -> Document:
    return {
        "schema": f"attn.{command}/{VERSION}",
        "attn_version": __version__,
        "status": status,
        "exit_code": exit_code,
        **{name: cleaned(part) for name, part in parts.items()},
    }


def cleaned(value: Any) -> Any:
    """``value`` with None for each number that is not finite; the one place where that is done."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: cleaned(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [cleaned(item) for item in value]
    return value
