"""Whole reports of checks as they stand in golden/."""

from __future__ import annotations

from itertools import groupby

import pytest
from rich.console import Console

from attn_cli.reporters.terminal import render_checked, render_rule, render_rules, render_verdict
from tests.reporters.check_results import RESULTS, RULES
from tests.reporters.goldens import LOOKS, check_golden

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


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("name", NAMES)
def test_the_report_is_the_golden_one(name: str, look: str) -> None:
    check_golden(name, look, lambda console: _render(name, console))
