"""What a command prints, on the terminal and, where it was asked for, in a picture of the terminal."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated

import typer
from rich.console import Console

from attn_cli.commands.options import OUTPUT
from attn_cli.errors import ResourceError, UsageError
from attn_cli.interruption import Terminated
from attn_cli.reporters.failures import refusal_of

OPTION = "--screenshot"
Screenshot = Annotated[
    str | None,
    typer.Option(
        OPTION, metavar="OUT.svg", help="Write what the terminal shows as a picture, in colour.", rich_help_panel=OUTPUT
    ),
]
Render = Callable[[Console], None]


class Showing:
    """Shows reports on standard output, and keeps what shows them for the picture.

    Args:
        screenshot: the file to write, or None.
        before_files: there are files to write when all is shown, so that what standard output refuses is told by
            :meth:`finish` alone.
    """

    def __init__(self, screenshot: str | None = None, *, before_files: bool = False) -> None:
        self._screenshot, self._shown = screenshot, list[Render]()
        self._before_files = before_files
        self._refusal: OSError | SystemExit | None = None

    def show(self, render: Render) -> None:
        """Print a report."""
        from attn_cli.reporters.terminal.console import make_console

        self._shown.append(render)
        if self._refusal is not None:
            return
        try:
            render(make_console())
        except Terminated:
            raise
        except (OSError, SystemExit) as error:  # the latter is what Rich makes of a pipe that nobody reads
            if not self._before_files:
                raise
            self._refusal = error

    @property
    def refusal(self) -> ResourceError | None:
        """What standard output did not take, as an error of its own; None also where nobody reads on."""
        if isinstance(self._refusal, OSError) and not isinstance(self._refusal, BrokenPipeError):
            return refusal_of(self._refusal)
        return None

    def finish(self) -> None:
        """The files are written.

        Raises:
            OSError, SystemExit: what standard output has refused by then.
        """
        if self._refusal is not None:
            raise self._refusal

    def draw(self, *next_shown: Render) -> None:
        """Write the picture, if one was asked for, of what was shown and of what is to be shown next.

        Raises:
            ResourceError: where it cannot be written.
        """
        if self._screenshot is None:
            return
        from attn_cli.reporters.screenshot import save_screenshot
        from attn_cli.reporters.terminal.console import make_console

        def show_all(console: Console) -> None:
            for render in (*self._shown, *next_shown):
                render(console)

        save_screenshot(show_all, self._screenshot, make_console().width, _title(sys.argv[1:]))


def check_screenshot(path: str | None, instead: str | None, onto: Iterable[str | None] = ()) -> None:
    """Refuse a picture that cannot be written, before anything is computed.

    Args:
        path: of the picture, or None.
        instead: the option that has something else printed than the report, such as ``--json``; None where none.
        onto: files that are read, or written besides, and must not be replaced.

    Raises:
        UsageError: where there is nothing to show, the suffix promises another format, or the file is one of those.
        ResourceError: where the folder is missing or may not be written to.
    """
    if path is None:
        return
    from attn_cli.reporters.atomic import check_output

    if instead is not None:
        raise UsageError(f"{OPTION} {path}: with {instead} the terminal shows no report; expected one of them")
    if not path.lower().endswith(".svg"):
        raise UsageError(f"{OPTION} {path}: it is written as SVG; expected a name such as out.svg")
    check_output(OPTION, path, (), "", onto)


def _title(arguments: Sequence[str]) -> str:
    """The command as it was typed, without what asks for the picture."""
    kept: list[str] = []
    follows = False
    for argument in arguments:
        if not follows and argument != OPTION and not argument.startswith(f"{OPTION}="):
            kept.append(argument)
        follows = argument == OPTION
    return shlex.join(["attn", *kept])
