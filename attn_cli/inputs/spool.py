"""What comes through a pipe, kept in a temporary file so that it can be mapped and sought in."""

from __future__ import annotations

import io
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import BinaryIO

from attn_cli.errors import AttnError, ResourceError, in_file
from attn_cli.inputs.limits import MOST_PIPED
from attn_cli.inputs.paths import STDIN, opened, unreadable
from attn_cli.inputs.readers.safetensors_header import PREFIX, header_length, read_header
from attn_cli.inputs.signatures import LENGTH, SAFETENSORS, signature, told_of
from attn_cli.inputs.waiting import WaitedFor
from attn_cli.interruption import held_back, mark_unfinished, remove_unfinished

CHUNK = 2**20  # bytes
KIND = "safetensors, .npz or .pt bytes"
EXPECTED = f"expected {KIND}"
ROOMIER = "point TMPDIR to a folder with more room"


def spool_stdin() -> str:
    """Copy standard input to a temporary file and return its path; the caller removes it.

    Raises:
        InputError: where standard input is a terminal, closed or empty, cannot be read, or does not end where it
            should.
        ResourceError: where the temporary folder is full, or the system fails.
    """
    if sys.stdin is None or sys.stdin.closed:
        raise in_file(STDIN, "standard input is closed", EXPECTED)
    if sys.stdin.isatty():
        raise in_file(STDIN, "standard input is a terminal", EXPECTED, "cat FILE | attn run -")
    number = sys.stdin.buffer.fileno()
    return spool(io.BufferedReader(WaitedFor(number, "standard input", closefd=False)), STDIN)


def spool_pipe(path: str) -> str:
    """Copy a named pipe to a temporary file and return its path; the caller removes it.

    Raises:
        InputError, ResourceError: as :func:`spool_stdin`, and where nobody writes to it.
    """
    with opened(path) as stream:
        return spool(stream, path)


def spool(stream: BinaryIO, label: str) -> str:
    """Copy all of ``stream`` to a temporary file; nothing of it is left where that fails.

    What is in no known format is refused by its first bytes, and what is longer than it says of itself as soon as it
    is: a pipe may have no end.

    Args:
        stream: the bytes.
        label: how messages name them.
    """
    try:
        with held_back():
            handle, path = tempfile.mkstemp(prefix="attn-")
            mark_unfinished(Path(path))
    except OSError as error:
        raise _no_room(label, error) from error
    try:
        with os.fdopen(handle, "wb") as file:
            _copy(stream, file, label)
    except OSError as error:
        remove_unfinished(Path(path))
        raise _no_room(label, error) from error
    except BaseException:
        remove_unfinished(Path(path))
        raise
    return path


def _no_room(label: str, error: OSError) -> ResourceError:
    reason = error.strerror or str(error)
    where = tempfile.tempdir or "a temporary folder"
    return ResourceError(f"{label}: cannot be copied to {where} ({reason}); expected room for all of it", ROOMIER)


def _copy(stream: BinaryIO, file: BinaryIO, label: str) -> None:
    head = _read(stream, LENGTH, label)
    if not head:
        what = "standard input" if label == STDIN else "it"
        raise in_file(label, f"{what} is empty", EXPECTED)
    kind = signature(head)
    if kind is None:
        raise in_file(label, "is in no format that attn knows", EXPECTED, told_of(head))
    file.write(head)
    if kind == SAFETENSORS:
        head += _read(stream, header_length(head, label) + PREFIX - LENGTH, label)
        file.seek(0)
        file.write(head)
        size = read_header(io.BytesIO(head), None, label).size
        _check_room(size, label)
        too_long: AttnError = in_file(
            label, f"holds more than the {size} bytes that its header tells of", "expected a whole safetensors file"
        )
    else:
        size = MOST_PIPED
        too_long = in_file(label, f"is longer than {size // 2**30} GiB", "expected less through a pipe", "name a file")
    if _copy_at_most(stream, file, size - len(head), label):
        raise too_long


def _copy_at_most(stream: BinaryIO, file: BinaryIO, size: int, label: str) -> bool:
    """Copy so many bytes; True where there are more."""
    while size > 0:
        chunk = _read(stream, min(CHUNK, size), label)
        if not chunk:
            return False
        file.write(chunk)
        size -= len(chunk)
    return bool(_read(stream, 1, label))


def _read(stream: BinaryIO, count: int, label: str) -> bytes:
    """So many bytes, fewer at the end; what is wrong with the stream is not taken for a fault of the copy's."""
    try:
        return stream.read(count)
    except OSError as error:
        raise unreadable(label, error, KIND) from error


def _check_room(size: int, label: str) -> None:
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    if size > free:
        raise ResourceError(f"{label}: holds {size} bytes; expected at most {free}, the room in {folder}", ROOMIER)
