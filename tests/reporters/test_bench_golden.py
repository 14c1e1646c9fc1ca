"""Whole benchmark reports as they stand in golden/."""

from __future__ import annotations

import pytest
from rich.console import Console

from attn_cli.reporters.terminal import render_bench, render_devices
from tests.reporters.bench_results import REPORTS, USABLE
from tests.reporters.goldens import LOOKS, check_golden

NAMES = [*REPORTS, "devices"]


def _render(name: str, console: Console) -> None:
    render_devices(USABLE, console) if name == "devices" else render_bench(REPORTS[name], console)


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("name", NAMES)
def test_the_report_is_the_golden_one(name: str, look: str) -> None:
    check_golden(name, look, lambda console: _render(name, console))
