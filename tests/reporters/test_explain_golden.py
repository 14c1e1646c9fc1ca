"""Whole explanations as they stand in golden/."""

from __future__ import annotations

import pytest

from attn_cli.reporters.terminal import render_explanation
from tests.reporters.explain_results import EXPLANATIONS
from tests.reporters.goldens import LOOKS, check_golden


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("name", EXPLANATIONS)
def test_the_report_is_the_golden_one(name: str, look: str) -> None:
    check_golden(f"explain-{name}", look, lambda console: render_explanation(EXPLANATIONS[name], console))
