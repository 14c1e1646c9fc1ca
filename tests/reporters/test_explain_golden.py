"""Whole explanations as they stand in golden/. ATTN_UPDATE_GOLDEN=1 writes them anew; read the difference then."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from attn_cli.reporters.terminal import render_explanation
from tests.reporters.consoles import printed
from tests.reporters.explain_results import EXPLANATIONS

GOLDEN = Path(__file__).parent / "golden"
LOOKS = {
    "80-plain": (80, None, "utf-8"),
    "80-colour": (80, "truecolor", "utf-8"),
    "80-ascii": (80, None, "ascii"),
}


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("name", EXPLANATIONS)
def test_the_explanation_is_the_golden_one(name: str, look: str) -> None:
    width, colours, encoding = LOOKS[look]
    told = EXPLANATIONS[name]
    text = printed(lambda console: render_explanation(told, console), width, colours, encoding)
    path = GOLDEN / f"explain-{name}-{look}.txt"
    if os.environ.get("ATTN_UPDATE_GOLDEN") == "1":
        path.write_text(text, encoding=encoding, newline="\n")
    assert text == path.read_text(encoding=encoding)
