"""Whole benchmark reports as they stand in golden/. ATTN_UPDATE_GOLDEN=1 writes them anew; read the difference then."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from rich.console import Console

from attn_cli.reporters.terminal import render_bench, render_devices
from tests.reporters.bench_results import REPORTS, USABLE
from tests.reporters.consoles import printed

GOLDEN = Path(__file__).parent / "golden"
NAMES = [*REPORTS, "devices"]


def _render(name: str, console: Console) -> None:
    render_devices(USABLE, console) if name == "devices" else render_bench(REPORTS[name], console)


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
