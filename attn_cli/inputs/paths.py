"""Whether a path can be read at all. Free of torch, so that a wrong path is answered at once."""

from __future__ import annotations

import difflib
import errno
import heapq
import io
import os
import stat
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO

from attn_cli.errors import AttnError, ResourceError, in_file
from attn_cli.inputs.limits import WRITER_SECONDS
from attn_cli.inputs.text import shown
from attn_cli.inputs.waiting import WaitedFor, comes

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

STDIN = "-"
LONGEST_PATH = 4096  # characters, as of a path that can be
EXPECTED = "expected a .safetensors, .npz, .npy, .pt or .pth file"
JSON_EXPECTED = "expected a JSON list of texts or token ids, one a key, or a list of such lists, one a batch item"
MOST_COMPARED = 300  # names of a folder, with one that is not there: each takes a millisecond
RELEASE_SECONDS = 5.0  # for a thread that nothing keeps from coming back
FLAGS = os.O_RDONLY | sum(getattr(os, name, 0) for name in ("O_NONBLOCK", "O_CLOEXEC", "O_BINARY"))
LACKING = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)  # no fault of any file's
FAILING = (*LACKING, errno.EIO)  # nor of what is in one


def check_readable(path: str, expected: str = EXPECTED) -> None:
    """Refuse a path that cannot be opened for reading; ``"-"``, standard input, passes.

    Args:
        path: of the file.
        expected: what it should be, for the message.

    Raises:
        InputError: where there is no such file, it is a folder, a device or a socket, or it may not be read.
    """
    if path == STDIN:
        return
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            raise in_file(path, "is a folder", expected, _inside(path))
        if not stat.S_ISREG(mode) and not stat.S_ISFIFO(mode):
            what = "socket" if stat.S_ISSOCK(mode) else "device"
            raise in_file(path, f"is a {what}", expected)
        if stat.S_ISREG(mode):
            os.close(open_regular(path, path, expected))
    except (FileNotFoundError, NotADirectoryError):
        raise in_file(path, "no such file", expected, _alike(path)) from None
    except (OSError, ValueError) as error:
        raise unreadable(path, error, "a file that you may read", "opened") from None


def check_regular(path: str, expected: str = EXPECTED) -> None:
    """Refuse whatever :func:`check_readable` refuses, and a pipe or standard input: what cannot be sought in.

    Raises:
        InputError: where it is no regular file that may be read.
    """
    check_readable(path, expected)
    if path == STDIN or not is_regular(path):
        what = "standard input" if path == STDIN else "a pipe"
        raise in_file(path, f"is {what}", expected, "copy it to a file first")


def open_regular(path: str, label: str, expected: str = EXPECTED) -> int:
    """The number of a regular file, open for reading; what was one and is a pipe by now is not waited for.

    Args:
        path: of the file.
        label: how messages name it.
        expected: what it should be, for the message.

    Raises:
        InputError, ResourceError: where it is no regular file, or cannot be opened.
    """
    try:
        number = os.open(path, FLAGS)
    except (OSError, ValueError) as error:
        raise unreadable(label, error, "a file that you may read", "opened") from error
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise in_file(label, "is no longer the file that it was", expected)
    return number


def opened(path: str, expected: str = EXPECTED) -> BinaryIO:
    """A file or a named pipe, open for reading; a pipe, once its first byte is there.

    Raises:
        InputError: where nobody writes to the pipe, or what was a file is none by now.
        OSError: where it cannot be opened.
    """
    if is_regular(path):
        return io.BufferedReader(_Regular(open_regular(path, path, expected)))
    number = _open_pipe(path, expected)
    if not comes(number, WRITER_SECONDS):
        os.close(number)
        raise _silent(path, expected)
    return io.BufferedReader(WaitedFor(number, path))


class _Regular(io.FileIO):
    """A file that is read; one of the system's that has nothing to give yet is not waited for."""

    def readinto(self, buffer: WriteableBuffer) -> int:
        count = super().readinto(buffer)
        if count is None:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return count


def _open_pipe(path: str, expected: str) -> int:
    """Opening a named pipe waits for whoever writes to it, so that it is left to a thread."""
    done: list[int | OSError] = []

    def wait() -> None:
        try:
            done.append(os.open(path, os.O_RDONLY))
        except OSError as error:
            done.append(error)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    thread.join(WRITER_SECONDS)
    is_late = not done
    if is_late:
        with suppress(OSError), open(os.open(path, os.O_RDWR | os.O_NONBLOCK), "rb"):  # lets the thread go
            thread.join(RELEASE_SECONDS)
    found = done[0] if done else TimeoutError()
    if isinstance(found, int) and not is_late:
        return found
    if isinstance(found, int):
        os.close(found)
    elif not is_late:
        raise found
    raise _silent(path, expected)


def _silent(path: str, expected: str) -> AttnError:
    return in_file(path, f"is a pipe that nobody wrote to for {WRITER_SECONDS:.0f} s", expected)


def is_json(path: str) -> bool:
    """Whether a name is that of a JSON file."""
    return path.lower().endswith(".json")


def is_stdin(path: str) -> bool:
    """True for ``"-"``, and for any other name of the pipe that is standard input: it can be read once."""
    if path == STDIN:
        return True
    try:
        own = os.fstat(0)
        return stat.S_ISFIFO(own.st_mode) and os.path.samestat(os.stat(path), own)
    except (OSError, ValueError):
        return False


def pipe_of(path: str) -> str | tuple[int, int] | None:
    """What tells a pipe from every other, whatever it is called: it can be read once. None of what is no pipe."""
    if is_stdin(path):
        return STDIN
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return (status.st_dev, status.st_ino) if stat.S_ISFIFO(status.st_mode) else None


def is_regular(path: str) -> bool:
    """True for a file that can be mapped and sought in, False for a pipe or a device."""
    return stat.S_ISREG(os.stat(path).st_mode)


def unreadable(path: str, error: OSError | ValueError, kind: str, what: str = "read") -> AttnError:
    """What to raise where a file cannot be opened or read: it, or what attn needs for it."""
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
    if isinstance(error, OSError) and error.errno in FAILING:
        return ResourceError(f"{path}: cannot be {what} ({reason}); expected a system that has room and no faults")
    return in_file(path, f"cannot be {what} ({shown(reason, 160)})", f"expected {kind}")


def _alike(path: str) -> str | None:
    """A name in the same folder that was probably meant."""
    folder, name = os.path.split(path)
    try:
        names = os.listdir(folder or ".")
    except OSError:
        return None
    compared = heapq.nlargest(MOST_COMPARED, names, key=lambda other: (_shared_ends(name, other), other))
    near = difflib.get_close_matches(name, compared, n=1)
    return f"there is {shown(os.path.join(folder, near[0]), LONGEST_PATH)}" if near else None


def _shared_ends(name: str, other: str) -> int:
    """Characters that both begin with, and that both end with."""
    ends = [name, other], [name[::-1], other[::-1]]
    return sum(len(os.path.commonprefix(pair)) for pair in ends)  # noqa: RUF071 (characters are meant)


def _inside(folder: str) -> str | None:
    """What in a folder could be read, such as a checkpoint's index."""
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return None
    endings = (".safetensors.index.json", ".safetensors", ".npz", ".pt", ".pth")
    found = [name for ending in endings for name in names if name.endswith(ending)]
    return f"in it is {shown(os.path.join(folder, found[0]), LONGEST_PATH)}" if found else None
