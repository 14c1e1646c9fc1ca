"""What is said where something fails or ends early, also on streams that fail themselves. Free of torch."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import select
import signal
import sys
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, TextIO

from attn_cli.errors import AttnError, ResourceError
from attn_cli.inputs.waiting import takes
from attn_cli.interruption import KILLED
from attn_cli.reporters.json_report import error_document, is_document_begun, write_document
from attn_cli.reporters.terminal.text import harmless

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

STREAMS = (0, 1, 2)
OUTPUTS = {"stdout": "standard output", "stderr": "standard error"}
LAST_SECONDS = 0.5  # for a reader to take the answer to a signal
AT_ONCE = getattr(select, "PIPE_BUF", 512)  # bytes that a pipe takes without waiting where it takes any


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


class _Output(io.FileIO):
    """Standard output or error, which are waited for, and whose failures say whose they are.

    Args:
        number: the descriptor; it stays open.
        label: what messages call it.

    Attributes:
        patience: seconds to wait for whoever reads, None: as long as it takes; one for both streams.
    """

    patience: ClassVar[float | None] = None

    def __init__(self, number: int, label: str) -> None:
        super().__init__(number, "w", closefd=False)
        self._label = label

    def write(self, data: ReadableBuffer) -> int:
        """Write as much as goes at once, and wait until something does."""
        try:
            if _Output.patience is not None:
                return self._write_soon(data, _Output.patience)
            while (count := super().write(data)) is None:  # another program has made the pipe one that does not wait
                takes(self.fileno())
            return count
        except OSError as error:
            error.filename = self._label
            raise

    def _write_soon(self, data: ReadableBuffer, patience: float) -> int:
        if hasattr(select, "poll") and not takes(self.fileno(), patience):
            _Output.patience = 0  # it will not take the rest either
            raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
        return super().write(memoryview(data)[:AT_ONCE]) or 0


class InterruptionError(AttnError):
    """A signal has ended the work. Exit code 128 + its number."""

    code = "interrupted"

    def __init__(self, number: int) -> None:
        name = signal.Signals(number).name
        super().__init__("interrupted" if number == signal.SIGINT else f"ended by {name}")
        self.exit_code = KILLED + number


def open_streams(*, is_own_process: bool) -> None:
    """What is written to a closed stream goes nowhere; on one without UTF-8 a sign that it lacks becomes ``?``.

    No file that is opened later may take a closed stream's number: whatever a library writes there would be in it.

    Args:
        is_own_process: the streams are nobody else's, so that attn may write to them in its own way.
    """
    with contextlib.suppress(OSError):
        while (number := os.open(os.devnull, os.O_RDWR)) in STREAMS:
            os.set_inheritable(number, True)
        os.close(number)
    for name, label in OUTPUTS.items():
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 (as long as the process)
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
            if is_own_process and stream is getattr(sys, f"__{name}__"):
                setattr(sys, name, _own(stream, label))


def _own(stream: io.TextIOWrapper, label: str) -> io.TextIOWrapper:
    """The same stream, but all of it is written or it fails; one that is more than a file stays as it is.

    Python writes without a buffer where it is told to (``-u``), and takes no notice of what did not go at once. Here
    that means a buffer for a line.
    """
    if type(getattr(stream.buffer, "raw", stream.buffer)) is not io.FileIO:
        return stream
    buffer = io.BufferedWriter(_Output(stream.fileno(), label))
    is_by_line = stream.line_buffering or stream.write_through
    return io.TextIOWrapper(buffer, stream.encoding, stream.errors, line_buffering=is_by_line)


def refusal_of(error: OSError) -> ResourceError | None:
    """What standard output or standard error did not take, where it is that which failed."""
    if error.filename not in OUTPUTS.values():
        return None
    reason = error.strerror or str(error)
    return ResourceError(f"{error.filename}: cannot be written: {reason}; expected room for all of it")


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

    From now on nobody who does not read is waited for: a signal ends attn.

    Args:
        number: of the signal.
        asked: what was asked for.
    """
    _Output.patience = LAST_SECONDS
    error = InterruptionError(number)
    say(f"attn: {error.message}")
    _tell_as_json(error, asked)
    return error.exit_code


def end_quietly() -> int:
    """Nobody reads on: that is no failure, and Python must not complain, nor wait, when it flushes at exit."""
    _let_go(sys.__stdout__)
    return 0


def end_streams() -> None:
    """All there is to say was flushed: what was not taken is let go, and changes no exit code when Python flushes."""
    end_quietly()
    try:
        sys.stderr.flush()
    except (OSError, ValueError):
        _let_go(sys.__stderr__)


def _let_go(stream: TextIO | None) -> None:
    """What is still to come on this stream goes nowhere."""
    if stream is not None:
        with contextlib.suppress(OSError, ValueError):
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, stream.fileno())
            os.close(nothing)


def _tell_as_json(error: AttnError, asked: Asked) -> None:
    """Write the document of a failure, unless stdout holds one already, or a part of one."""
    if not asked.as_json or is_document_begun():
        return
    try:
        write_document(error_document(asked.command or "error", error), sys.stdout)
        sys.stdout.flush()
    except OSError:
        end_quietly()  # stdout itself is what failed; stderr has said so
