"""The options for a page, declared once for every command that writes one. Free of torch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import typer

from attn_cli.commands.options import OUTPUT
from attn_cli.commands.parsing import parse_bytes
from attn_cli.errors import UsageError
from attn_cli.inputs.text import shown
from attn_cli.reporters.html import DEFAULT_BUDGET, PageRequest, check_page

Html = Annotated[
    str | None,
    typer.Option(
        "--html",
        metavar="OUT.html",
        help="Write a page besides: one file that opens in any browser, without a network.",
        rich_help_panel=OUTPUT,
    ),
]
HtmlBudget = Annotated[
    str | None,
    typer.Option(
        "--html-budget",
        metavar="SIZE",
        help="How large the page may become: what does not fit is pooled or thinned. The least takes about 200kB. "
        f"\\[default: {DEFAULT_BUDGET // 1_000_000}MB]",
        rich_help_panel=OUTPUT,
    ),
]


def page_asked_for(html: str | None, budget: str | None, onto: Iterable[str | None] = ()) -> PageRequest | None:
    """The page to write, refused before anything is computed where it cannot be; None where none was asked for.

    Args:
        html: the file to write.
        budget: its size.
        onto: files that are read, or written besides, and must not be replaced.

    Raises:
        UsageError: where the suffix promises another format, the file is one of those, or the size is none.
        ResourceError: where the folder is missing or may not be written to.
    """
    size = DEFAULT_BUDGET if budget is None else parse_bytes("--html-budget", budget)
    if html is None:
        if budget is not None:
            raise UsageError(f"--html-budget {shown(budget, 60)}: found no page; expected --html OUT.html too")
        return None
    check_page(html, onto)
    return PageRequest(html, size)
