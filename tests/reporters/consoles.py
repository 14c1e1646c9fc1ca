"""Consoles that write into memory, independent of the environment the tests run in."""

from __future__ import annotations

import io
import re
from collections.abc import Callable

from rich.console import Console
from rich.style import Style

ANSI = re.compile(r"\x1b\[[0-9;]*m")


def make(width: int, colours: str | None = None, encoding: str = "utf-8") -> Console:
    """A console of a fixed width. ``colours`` is Rich's name of a colour system, or None for none at all."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="\n")
    return Console(
        file=stream,
        width=width,
        height=25,
        force_terminal=colours is not None,
        color_system=colours,  # type: ignore[arg-type]
        legacy_windows=False,
        highlight=False,
        markup=False,
        emoji=False,
        _environ={},
    )


def shown(console: Console) -> str:
    """Everything that was printed, escape sequences of colours included."""
    stream = console.file
    assert isinstance(stream, io.TextIOWrapper)
    stream.flush()
    raw = stream.buffer
    assert isinstance(raw, io.BytesIO)
    return raw.getvalue().decode(stream.encoding)


def printed(render: Callable[[Console], None], width: int, colours: str | None = None, encoding: str = "utf-8") -> str:
    """What ``render`` prints, with Rich's own colour sequences."""
    forget_styles()
    console = make(width, colours, encoding)
    render(console)
    return shown(console)


def forget_styles() -> None:
    """Rich's styles keep their codes for the first colour system that they meet, in whichever test that was."""
    for name in ("parse", "_add", "normalize"):
        getattr(getattr(Style, name), "cache_clear", lambda: None)()


def plain(text: str) -> str:
    """The text without colours."""
    return ANSI.sub("", text)
