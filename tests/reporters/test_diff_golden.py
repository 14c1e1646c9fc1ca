"""Whole comparisons as they stand in golden/. ATTN_UPDATE_GOLDEN=1 writes them anew; read the difference then."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from attn_cli.reporters.terminal.diff import render_diff
from tests.reporters.consoles import printed
from tests.reporters.diff_results import RESULTS

GOLDEN = Path(__file__).parent / "golden"


def check(text: str, path: Path, encoding: str) -> None:
    if os.environ.get("ATTN_UPDATE_GOLDEN") == "1":
        path.write_text(text, encoding=encoding, newline="\n")
    assert text == path.read_text(encoding=encoding)


@pytest.mark.parametrize("colours", [None, "truecolor"], ids=["plain", "colour"])
@pytest.mark.parametrize("width", [80, 140])
@pytest.mark.parametrize("name", RESULTS)
def test_the_report_is_the_golden_one(name: str, width: int, colours: str | None) -> None:
    text = printed(lambda console: render_diff(RESULTS[name], console), width, colours)
    check(text, GOLDEN / f"diff-{name}-{width}-{'colour' if colours else 'plain'}.txt", "utf-8")


@pytest.mark.parametrize("name", RESULTS)
def test_a_terminal_without_utf8_gets_the_golden_ascii(name: str) -> None:
    text = printed(lambda console: render_diff(RESULTS[name], console), 80, encoding="ascii")
    check(text, GOLDEN / f"diff-{name}-80-ascii.txt", "ascii")
