"""The part of docs/reference/findings.md that tells every rule. ATTN_UPDATE_GOLDEN=1 writes it anew."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from attn_cli.checks import CHECKS
from attn_cli.inspection.findings.rules import Rule

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "findings.md"
BEGIN, END = "<!-- rules: written by make golden -->\n", "<!-- end of rules -->\n"
RULES = [check.rule for check in CHECKS]


def _row(rule: Rule) -> str:
    sentence = rule.sentence.replace("|", "\\|")
    return f"| [{rule.code}](#{rule.code.lower()}) {rule.name} | {rule.severity} | {sentence} |"


def _section(rule: Rule) -> Iterator[str]:
    yield f"## {rule.code}"
    yield f"**{rule.name}** ({rule.severity}). {rule.sentence}"
    yield f"*Why it matters.* {rule.why}"
    yield f"*Example.* {rule.example}"
    yield f"*Source.* {rule.source}"


def _told() -> str:
    table = ["| code | severity | what it looks for |", "|---|---|---|", *(_row(rule) for rule in RULES)]
    sections = [paragraph for rule in RULES for paragraph in _section(rule)]
    return "\n" + "\n\n".join(["\n".join(table), *sections]) + "\n\n"


def test_the_findings_reference_tells_the_rules_as_they_are() -> None:
    page = PAGE.read_text(encoding="utf-8")
    if os.environ.get("ATTN_UPDATE_GOLDEN") == "1":
        before, after = page.split(BEGIN)[0], page.split(END)[1]
        page = f"{before}{BEGIN}{_told()}{END}{after}"
        PAGE.write_text(page, encoding="utf-8", newline="\n")
    assert page.split(BEGIN)[1].split(END)[0] == _told()
