"""The page with the most that fits into its budget."""

from __future__ import annotations

from attn_cli.reporters.html.budget import Level, levels
from attn_cli.reporters.html.page import Parts, assemble
from attn_cli.reporters.html.payload import page_payload, page_title
from attn_cli.reporters.html.payload_heads import all_pictures
from attn_cli.reporters.html.texts import made_harmless
from attn_cli.results import RunResult


def fitting_page(result: RunResult, budget: int, parts: Parts) -> tuple[bytes, str | None]:
    """The page in UTF-8, and a warning where even the least does not fit.

    Args:
        result: at least one call.
        budget: bytes.
        parts: template, style and script.
    """
    largest = max(max(all_pictures(call.inspection).weights.shape[2:]) for call in result.calls)
    level, size = Level(1, "all"), 0
    for level in levels(largest):
        data = _page(result, level, budget, parts)
        if len(data) <= budget:
            return data, None
        size = len(data)
    warning = f"the least that it tells takes {size_text(size)}, more than the {size_text(budget)} of --html-budget"
    return _page(result, level, budget, parts, warning), warning


def _page(result: RunResult, level: Level, budget: int, parts: Parts, warning: str | None = None) -> bytes:
    note = "" if warning is None else f"This page is larger than asked for: {warning}."
    said = {"bytes": budget, "kept": warning is None, "note": note}
    return assemble(page_payload(result, level, said), made_harmless(page_title(result)), parts).encode()


def size_text(count: int) -> str:
    """``2.0 MB``."""
    if count >= 1e6:
        return f"{count / 1e6:.1f} MB"
    return f"{count / 1e3:.0f} kB" if count >= 10_000 else f"{count} bytes"
