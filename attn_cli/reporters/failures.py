"""What is said where something fails or ends early, also on streams that fail themselves. Free of torch."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING

from attn_cli.errors import AttnError
from attn_cli.interruption import KILLED
from attn_cli.reporters.json_report import error_document, is_document_begun, write_document
from attn_cli.reporters.terminal.text import harmless

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

STREAMS = (0, 1, 2)
STDOUT = "standard output"


@dataclass(frozen=True)
class Asked:
    """What of the command line matters to whoever tells of a failure.

    Attributes:
        command: its name, or None where attn has none such.
        as_json: whether stdout is to hold a JSON document.
        with_traceback: whether to show where in attn an error arose.
    """

    command: str | None
    as_json: bool
    with_traceback: bool


class _NamedOutput(io.FileIO):
    """Standard output, whose failures say that they are its own."""

    def write(self, data: ReadableBuffer) -> int:
        try:
            return super().write(data)
        except OSError as error:
            error.filename = STDOUT
            raise


class InterruptionError(AttnError):
    """A signal has ended the work. Exit code 128 + its number."""

    code = "interrupted"

    def __init__(self, number: int) -> None:
        name = signal.Signals(number).name
        super().__init__("interrupted" if number == signal.SIGINT else f"ended by {name}")
        self.exit_code = KILLED + number


def open_streams(*, names_stdout: bool) -> None:
    """What is written to a closed stream goes nowhere; on one without UTF-8 a sign that it lacks becomes ``?``.

    No file that is opened later may take a closed stream's number: whatever a library writes there would be in it.

    Args:
        names_stdout: have an error of standard output's carry its name.
    """
    with contextlib.suppress(OSError):
        while (number := os.open(os.devnull, os.O_RDWR)) in STREAMS:
            os.set_inheritable(number, True)
        os.close(number)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 (as long as the process)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    if names_stdout and isinstance(sys.__stdout__, io.TextIOWrapper) and sys.stdout is sys.__stdout__:
        sys.stdout = _named(sys.__stdout__)


def _named(stream: io.TextIOWrapper) -> io.TextIOWrapper:
    """The same stream, but for its errors; one that is more than a file stays as it is."""
    if type(getattr(stream.buffer, "raw", None)) is not io.FileIO:
        return stream
    named = io.BufferedWriter(_NamedOutput(stream.fileno(), "w", closefd=False))
    is_by_line, is_at_once = stream.line_buffering, stream.write_through
    return io.TextIOWrapper(named, stream.encoding, stream.errors, line_buffering=is_by_line, write_through=is_at_once)


def say(line: str) -> None:
    """A line on standard error; where that is full or closed there is nobody to tell."""
    with contextlib.suppress(OSError):
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()


def tell_failed(error: AttnError, asked: Asked) -> int:
    """Report an error: one line, a hint, and as JSON too where JSON was asked for. Returns its exit code."""
    if asked.with_traceback:
        with contextlib.suppress(OSError):
            traceback.print_exception(error, file=sys.stderr)
    for one in (error, *error.others):
        say(f"attn: error: {harmless(one.message)}")
        if one.hint:
            # A hint may list what is in a file, a line each.
            say("hint: " + "\n".join(harmless(line) for line in one.hint.split("\n")))
    _tell_as_json(error, asked)
    return error.exit_code


def tell_interrupted(number: int, asked: Asked) -> int:
    """Ctrl-C and its kin are an answer to what is going on, not a failure. Returns the exit code.

    Args:
        number: of the signal.
        asked: what was asked for.
    """
    error = InterruptionError(number)
    say(f"attn: {error.message}")
    _tell_as_json(error, asked)
    return error.exit_code


def end_quietly() -> int:
    """Nobody reads on: that is no failure, and Python must not complain, nor wait, when it flushes at exit."""
    stdout = sys.__stdout__
    if stdout is not None:
        with contextlib.suppress(OSError, ValueError):
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, stdout.fileno())
            os.close(nothing)
    return 0


def _tell_as_json(error: AttnError, asked: Asked) -> None:
    """Write the document of a failure, unless stdout holds one already, or a part of one."""
    if not asked.as_json or is_document_begun():
        return
    try:
        write_document(error_document(asked.command or "error", error), sys.stdout)
        sys.stdout.flush()
    except OSError:
        end_quietly()  # stdout itself is what failed; stderr has said so
