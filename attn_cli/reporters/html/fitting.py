"""The page with the most that fits into its budget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from attn_cli.reporters.html.budget import Level
from attn_cli.reporters.html.budget import levels as all_levels
from attn_cli.reporters.html.page import Parts, assemble
from attn_cli.reporters.html.payload import page_payload, page_title
from attn_cli.reporters.html.payload_heads import all_pictures
from attn_cli.reporters.html.story import Story
from attn_cli.reporters.html.texts import made_harmless
from attn_cli.results import RunResult

T = TypeVar("T")
BYTES_OF_HEAD = 200  # no head takes less: the names of what is told of it alone


def fitting_page(result: RunResult, budget: int, parts: Parts, story: Story | None = None) -> tuple[bytes, str | None]:
    """The page in UTF-8, and a warning where even the least does not fit.

    Args:
        result: at least one call, or a story.
        budget: bytes.
        parts: template, style and script.
        story: what a command has to tell beside its calls, or None.
    """
    largest = max((max(all_pictures(call.inspection).weights.shape[2:]) for call in result.calls), default=1)
    *_, least = every = tuple(all_levels(largest))
    heads = sum(len(labels) for call in result.calls for labels in call.inspection.labels)
    every = every if heads * BYTES_OF_HEAD <= budget else (least,)
    data, fits = most_that_fits(lambda level: _page(result, level, budget, parts, story), every, budget)
    if fits:
        return data, None
    warning = too_large("the least that it tells takes", len(data), budget)
    return _page(result, least, budget, parts, story, warning), warning


def most_that_fits(page: Callable[[T], bytes], levels: Sequence[T], budget: int) -> tuple[bytes, bool]:
    """The page that tells most of those with no more bytes than these, and True; where none is, the last and False.

    Args:
        page: makes the page of a level.
        levels: at least one, from most to least: each has a page that is smaller than the one before.
        budget: bytes.
    """
    data = page(levels[0])  # it nearly always fits, since what is inspected is planned for the budget
    if len(data) <= budget:
        return data, True
    fitting, above, below = b"", 0, len(levels)  # the page of the level below fits, that of the one above does not
    while below - above > 1:
        level = (above + below) // 2
        data = page(levels[level])
        if len(data) <= budget:
            fitting, below = data, level
        else:
            above = level
    return (fitting, True) if fitting else (data, False)


def too_large(what: str, size: int, budget: int) -> str:
    """The warning of a page that its budget does not hold."""
    return f"{what} {size_text(size)}, more than the {size_text(budget)} of --html-budget"


def _page(
    result: RunResult, level: Level, budget: int, parts: Parts, story: Story | None, warning: str | None = None
) -> bytes:
    note = "" if warning is None else f"This page is larger than asked for: {warning}."
    said = {"bytes": budget, "kept": warning is None, "note": note}
    title = page_title(result) if story is None else story.title
    return assemble(page_payload(result, level, said, story), made_harmless(title), parts).encode()


def size_text(count: int) -> str:
    """``2.0 MB``."""
    if count >= 1e6:
        return f"{count / 1e6:.1f} MB"
    return f"{count / 1e3:.0f} kB" if count >= 10_000 else f"{count} bytes"
