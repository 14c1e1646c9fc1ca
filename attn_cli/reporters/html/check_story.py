"""What the page of ``attn check`` opens with: what was checked, by which rules, and what came of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import PurePath

from attn_cli.checks.types import CheckedCall, CheckResult
from attn_cli.inspection.findings.rules import Rule
from attn_cli.reporters.html.story import CallWords, Entry, Story, file_names, own_name
from attn_cli.reporters.terminal.check import checked_texts, summary_text
from attn_cli.reporters.terminal.text import count
from attn_cli.results import RunResult

LONGEST_STEM = 16
Names = Mapping[str, str]


def check_page(result: CheckResult, refused: Sequence[tuple[str, str]] = ()) -> tuple[RunResult, Story]:
    """The calls of a check with their pictures, and what was found in them.

    Args:
        result: calls that were checked so that they can be shown.
        refused: files that could not be checked, each with what is said of it.
    """
    shown = tuple(call.shown for call in result.calls if call.shown is not None)
    assert len(shown) == len(result.calls)
    sources = dict.fromkeys(call.call.source for call in result.calls)
    names = file_names([*sources, *(file for file, _ in refused)])
    files = {source: names[source] for source in sources}
    title = count(len(files), "file") if len(files) > 1 else next(iter(files.values()))
    story = Story(
        title=f"{title} · attn check",
        words=tuple(_words(call, result.calls, files) for call in result.calls),
        told={"check": _told(result, files, [text.replace(file, names[file]) for file, text in refused])},
        is_one_run=len(files) == 1,
    )
    return RunResult("check", shown), story


def _words(call: CheckedCall, calls: Sequence[CheckedCall], files: Names) -> CallWords:
    """The layer or step; in front of it the file, where there are several."""
    record, file = call.call, files[call.call.source]
    name, mark = own_name(record, [other.call for other in calls if other.call.source == record.source])
    told = {"groups": call.shape[1] // call.kv_heads, "file": file, "own_name": name or file}
    if len(files) == 1:
        return CallWords(name or file, mark, told=told)
    full, short = ([file, name], [PurePath(file).stem[:LONGEST_STEM], mark])
    return CallWords(" · ".join(filter(None, full)), " · ".join(filter(None, short)), told=told)


def _told(result: CheckResult, files: Names, refused: Sequence[str]) -> Entry:
    bad = result.fails or bool(refused)
    return {
        "verdict": summary_text(result),
        "state": "bad" if bad else "plain" if result.findings else "good",
        "files": [_file(source, name, result) for source, name in files.items()],
        "refused": list(refused),
        "told": checked_texts(result),
        "rules": [_rule(rule) for rule in result.rules],
        "left_out": [_rule(rule) for rule in result.left_out],
        "strict": result.is_strict,
    }


def _file(source: str, name: str, result: CheckResult) -> Entry:
    calls = [call for call in result.calls if call.call.source == source]
    counts = Counter(finding.severity for call in calls for finding in call.findings)
    return {"name": name, "calls": len(calls), "findings": dict(counts)}


def _rule(rule: Rule) -> Entry:
    return {
        "code": rule.code,
        "name": rule.name,
        "severity": rule.severity,
        "sentence": rule.sentence,
        "why": rule.why,
        "example": rule.example,
        "source": rule.source,
    }
