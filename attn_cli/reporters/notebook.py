"""The terminal's report inside something else: a notebook's page, or another program's Rich console."""

from __future__ import annotations

from io import StringIO
from typing import Any

from rich.console import Console
from rich.text import Text

from attn_cli.reporters.terminal import render_run
from attn_cli.results import RunResult

PAGE_WIDTH = 100
# No colours of its own: the report's read on dark and on light pages.
_PAGE = (
    '<pre style="white-space:pre;overflow-x:auto;line-height:normal;'
    "font-family:Menlo,'DejaVu Sans Mono',Consolas,'Courier New',monospace\">{code}</pre>"
)


class _Collector(Console):
    """A console that keeps the lines which are printed to it."""

    def __init__(self, like: Console, width: int) -> None:
        super().__init__(
            file=like.file, width=width, color_system=_system(like), no_color=like.no_color, markup=False,
            highlight=False, emoji=False,
        )  # fmt: skip
        self.lines: list[Text] = []

    def print(self, *objects: Any, **_options: Any) -> None:
        """Keep each line; all that the terminal's reporters print is one."""
        for line in objects:
            assert isinstance(line, Text)
            kept = line.copy()
            kept.end = "\n"
            self.lines.append(kept)


def report_lines(result: RunResult, console: Console, width: int) -> list[Text]:
    """The report as lines, drawn for the abilities of ``console`` and at most ``width`` columns."""
    collector = _Collector(console, width)
    render_run(result, collector)
    return collector.lines


def report_html(result: RunResult) -> str:
    """The report as one ``<pre>`` in colour; every character of it is text, never markup or script."""
    page = Console(
        file=StringIO(), width=PAGE_WIDTH, color_system="truecolor", force_terminal=True, legacy_windows=False,
        no_color=False, record=True, markup=False, highlight=False, emoji=False, _environ={},
    )  # fmt: skip
    render_run(result, page)
    return page.export_html(inline_styles=True, code_format=_PAGE)


def _system(console: Console) -> Any:
    """The colours that a console has, by the name that a new one takes."""
    return console.color_system
