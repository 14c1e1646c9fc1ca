"""Whole reports as they stand in golden/. ATTN_UPDATE_GOLDEN=1 writes them anew; read the difference then."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from tests.reporters.consoles import printed

GOLDEN = Path(__file__).parent / "golden"
LOOKS = {
    "80-plain": (80, None, "utf-8"),
    "80-colour": (80, "truecolor", "utf-8"),
    "80-ascii": (80, None, "ascii"),
    "140-plain": (140, None, "utf-8"),
    "140-colour": (140, "truecolor", "utf-8"),
}


def check_golden(name: str, look: str, render: Callable[[Console], object]) -> None:
    """What ``render`` prints in this look is what stands in the file."""
    width, colours, encoding = LOOKS[look]
    text = printed(render, width, colours, encoding)
    path = GOLDEN / f"{name}-{look}.txt"
    if os.environ.get("ATTN_UPDATE_GOLDEN") == "1":
        path.write_text(text, encoding=encoding, newline="\n")
    assert text == path.read_text(encoding=encoding)
