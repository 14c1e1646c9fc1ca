"""A run as one page that opens anywhere: no request to anything, and a size that it keeps. Free of torch until then."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from attn_cli.reporters.atomic import atomic_write, check_output

if TYPE_CHECKING:
    from attn_cli.reporters.html.page import Parts
    from attn_cli.reporters.html.story import Story
    from attn_cli.results import RunResult

DEFAULT_BUDGET = 2_000_000
OTHER_FORMATS = (
    ".safetensors", ".npz", ".npy", ".pt", ".pth", ".json", ".jsonl", ".csv", ".md", ".txt", ".svg", ".png", ".pdf",
)  # fmt: skip


@dataclass(frozen=True)
class PageRequest:
    """Where a page is to go, and how many bytes it may have."""

    path: str
    budget: int = DEFAULT_BUDGET


@dataclass(frozen=True)
class WrittenPage:
    """What became of a page.

    Attributes:
        size: its bytes.
        warning: what its writer should know, or None.
    """

    size: int
    warning: str | None


def check_page(path: str, onto: Iterable[str | None] = ()) -> None:
    """Refuse a place that a page cannot be written to, before there is anything to write.

    Args:
        path: where to.
        onto: files that are read, or written besides, and must not be replaced.

    Raises:
        UsageError: where the suffix promises another format, or the file is one of those.
        ResourceError: where the folder is missing or may not be written to.
    """
    check_output("--html", path, OTHER_FORMATS, "it is written as HTML; expected a name such as out.html", onto)


def write_page(
    result: RunResult,
    path: str,
    budget: int = DEFAULT_BUDGET,
    parts: Parts | None = None,
    story: Story | None = None,
) -> WrittenPage:
    """Write the page of a run; it appears whole or not at all.

    Args:
        result: at least one call, or a story.
        path: the file to write or to replace.
        budget: bytes that it may have. Pictures are pooled and windows left out until it fits; where even the least
            does not, that is written, and said.
        parts: template, style and script; None takes attn's own.
        story: what a command has to tell beside its calls, or None.

    Raises:
        ResourceError: where the file cannot be written.
    """
    from attn_cli.reporters.html.fitting import fitting_page
    from attn_cli.reporters.html.page import own_parts

    data, warning = fitting_page(result, budget, parts or own_parts(), story)
    return put(data, path, warning)


def put(data: bytes, path: str, warning: str | None) -> WrittenPage:
    """Write a page that is made; it appears whole or not at all.

    Raises:
        ResourceError: where the file cannot be written.
    """
    with atomic_write(path) as temporary:
        temporary.write_bytes(data)
    return WrittenPage(len(data), warning)
