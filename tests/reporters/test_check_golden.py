"""Whole reports of checks as they stand in golden/. ATTN_UPDATE_GOLDEN=1 writes them anew; read the difference then."""

from __future__ import annotations

import os
from itertools import groupby
from pathlib import Path

import pytest
from rich.console import Console

from attn_cli.reporters.terminal import render_checked, render_rule, render_rules, render_verdict
from tests.reporters.check_results import RESULTS, RULES
from tests.reporters.consoles import printed

GOLDEN = Path(__file__).parent / "golden"
NAMES = [*RESULTS, "check-rule", "check-rules"]


def _render(name: str, console: Console) -> None:
    if name == "check-rule":
        render_rule(RULES[2], console)
    elif name == "check-rules":
        render_rules(RULES, console)
    else:
        for _, calls in groupby(RESULTS[name].calls, key=lambda call: call.call.source):
            render_checked(tuple(calls), console)
        render_verdict(RESULTS[name], console)


@pytest.mark.parametrize("colours", [None, "truecolor"], ids=["plain", "colour"])
@pytest.mark.parametrize("width", [80, 140])
@pytest.mark.parametrize("name", NAMES)
def test_the_report_is_the_golden_one(name: str, width: int, colours: str | None) -> None:
    text = printed(lambda console: _render(name, console), width, colours)
    path = GOLDEN / f"{name}-{width}-{'colour' if colours else 'plain'}.txt"
    if os.environ.get("ATTN_UPDATE_GOLDEN") == "1":
        path.write_text(text, encoding="utf-8", newline="\n")
    assert text == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_a_terminal_without_utf8_gets_the_golden_ascii(name: str) -> None:
    text = printed(lambda console: _render(name, console), 80, encoding="ascii")
    path = GOLDEN / f"{name}-80-ascii.txt"
    if os.environ.get("ATTN_UPDATE_GOLDEN") == "1":
        path.write_text(text, encoding="ascii", newline="\n")
    assert text == path.read_text(encoding="ascii")
