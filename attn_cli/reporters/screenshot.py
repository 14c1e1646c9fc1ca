"""The terminal's output as a picture: an SVG that Rich draws, in colour whatever the terminal can."""

from __future__ import annotations

import io
import re
from collections.abc import Callable

from rich.console import Console
from rich.terminal_theme import TerminalTheme

from attn_cli.reporters.atomic import atomic_write
from attn_cli.reporters.terminal.text import harmless

PAPER, INK = (253, 253, 253), (36, 36, 36)
COLOURS = [(190, 40, 50), (20, 120, 60), (150, 105, 0), (30, 90, 180), (140, 60, 160), (0, 120, 130)]
BRIGHT = [(210, 50, 60), (30, 140, 70), (170, 120, 0), (40, 110, 210), (160, 70, 180), (0, 140, 150)]
THEME = TerminalTheme(PAPER, INK, [INK, *COLOURS, (200, 200, 200)], [(110, 110, 110), *BRIGHT, PAPER])
FONTS = "ui-monospace, 'DejaVu Sans Mono', 'Cascadia Mono', Menlo, Consolas, monospace"
FRAME, RICHS_FRAME = "rgba(128,128,128,0.5)", "rgba(255,255,255,0.35)"  # nothing is seen of a white one on white
TITLE_LETTER, COLUMN, BUTTONS = 10, 12.2, 180  # units of the picture, across
NARROWEST = 40  # columns


def save_screenshot(show: Callable[[Console], None], path: str, width: int, title: str) -> None:
    """Draw what ``show`` prints into an SVG file that asks nothing of any network.

    Args:
        show: prints a report on a console.
        path: of the file, which appears whole or not at all.
        width: columns.
        title: what stands in the window's bar, the command itself.

    Raises:
        ResourceError: where the file cannot be written.
    """
    console = Console(
        file=io.StringIO(), record=True, width=max(width, NARROWEST), height=25, force_terminal=True,
        color_system="truecolor", highlight=False, markup=False, emoji=False, legacy_windows=False,
        _environ={},
    )  # fmt: skip
    show(console)
    console.print()  # the last line would touch the frame
    svg = console.export_svg(title=_fitting(harmless(title), console.width), theme=THEME, unique_id="attn")
    with atomic_write(path) as temporary:
        temporary.write_text(_framed(_without_network(svg)), encoding="utf-8")


def _fitting(title: str, width: int) -> str:
    """The title, cut off where it would run into the window's buttons."""
    most = int((width * COLUMN - BUTTONS) / TITLE_LETTER)
    return title if len(title) <= most else f"{title[: most - 1]}…"


def _framed(svg: str) -> str:
    """A frame that is seen on white and on black; the first that is drawn is the window's."""
    return svg.replace(f'stroke="{RICHS_FRAME}"', f'stroke="{FRAME}"', 1)


def _without_network(svg: str) -> str:
    """Fonts that are there, instead of some that Rich's style would fetch; the text below the style is left alone."""
    style, end, rest = svg.partition("</style>")
    style = re.sub(r"@font-face \{.*?\}\s*", "", style, flags=re.DOTALL)
    style = style.replace("Fira Code, monospace", FONTS).replace("font-family: arial", "font-family: sans-serif")
    return style + end + rest
