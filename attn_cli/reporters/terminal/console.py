"""The console that all human-readable output goes through."""

from __future__ import annotations

import os
import sys
from typing import Literal, TextIO

from rich.console import Console

from attn_cli.inputs.numbers import cells

DEFAULT_WIDTH = 80
_HEIGHT = 25


class _QuietPipeConsole(Console):
    """A console that leaves a closed pipe to its caller, who owns the exit code; Rich's own exits with 1."""

    def on_broken_pipe(self) -> None:
        """Called by Rich while it handles a ``BrokenPipeError``.

        Raises:
            BrokenPipeError: the one being handled.
        """
        raise


def make_console(stderr: bool = False) -> Console:
    """A console on standard output, or on standard error, that shows text as it is.

    Rich itself honours NO_COLOR, FORCE_COLOR, COLUMNS, TERM and the stream's encoding. Added here: a stream that is
    no terminal is 80 columns wide even where another stream is a terminal, COLUMNS counts on a dumb terminal too,
    and FORCE_COLOR=2 and 3 ask for 256 and for all colours, where TERM may not say.
    """
    width = _fixed_width(sys.stderr if stderr else sys.stdout)
    return _QuietPipeConsole(
        stderr=stderr,
        width=width,
        height=None if width is None else _HEIGHT,
        color_system=_forced_colours(),
        highlight=False,
        markup=False,
        emoji=False,
        soft_wrap=False,
    )


def _fixed_width(stream: TextIO) -> int | None:
    """The width that does not depend on a terminal, or None where Rich is to ask the terminal."""
    columns = cells(os.environ.get("COLUMNS", ""))
    if columns is not None:
        return columns
    return None if is_terminal(stream) else DEFAULT_WIDTH


def _forced_colours() -> Literal["auto", "256", "truecolor"]:
    if os.environ.get("TERM", "").lower() == "dumb":
        return "auto"
    forced = os.environ.get("FORCE_COLOR")
    return "256" if forced == "2" else "truecolor" if forced == "3" else "auto"


def is_terminal(stream: TextIO) -> bool:
    """Whether ``stream`` is a terminal; a closed stream is none."""
    try:
        return stream.isatty()
    except ValueError:
        return False
