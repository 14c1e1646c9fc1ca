"""Whole comparisons as they stand in golden/."""

from __future__ import annotations

import pytest

from attn_cli.reporters.terminal import render_diff
from tests.reporters.diff_results import RESULTS
from tests.reporters.goldens import LOOKS, check_golden


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("name", RESULTS)
def test_the_report_is_the_golden_one(name: str, look: str) -> None:
    check_golden(f"diff-{name}", look, lambda console: render_diff(RESULTS[name], console))
