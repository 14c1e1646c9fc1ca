"""Runs ``attn`` as a process of its own without importing PyTorch anew each time, so that a test may try hundreds.

A server process imports everything once and forks: the new process has its own streams, environment, folder, limits and
exit code. What depends on how Python itself starts (``LANG``, ``PYTHONUTF8``, the import of modules) needs
`tests.cli.process.attn_from_scratch` instead. `PROGRAM` is ``attn`` for a shell, by way of the same server.
"""

import contextlib
import json
import math
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import BinaryIO

from tests.cli.process import ROOT, environment

PROGRAM = Path(__file__).with_name("warm_program.py")
SECONDS = 10.0  # no hang: longer than this nothing that is refused may take
SHORT = "/tmp"  # whatever TMPDIR is: a socket's address has 107 bytes at most
PATIENCE = 6  # times as long by the clock, which goes on while others have the cores


@dataclass(frozen=True)
class Ended:
    """How a process ended.

    Attributes:
        returncode: its exit code; negative: the signal that killed it.
        stdout, stderr: what it wrote, as bytes; empty where the test gave a stream of its own.
        max_rss: the most memory that was resident, in bytes; about 300 MB of it is PyTorch itself.
        timed_out: it was killed for taking too long.
    """

    returncode: int
    stdout: bytes
    stderr: bytes
    max_rss: int
    timed_out: bool

    @property
    def err(self) -> str:
        """Standard error as text."""
        return self.stderr.decode()

    @property
    def json(self) -> dict:
        """Standard output as the one JSON document that it must be."""
        return json.loads(self.stdout)


class Server:
    """The process that forks. It ends with this one.

    Attributes:
        address: of the socket it listens on.
    """

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="warm-", dir=SHORT if os.access(SHORT, os.W_OK) else None)
        self.address = str(Path(self._folder.name) / "socket")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(self.address)
            listener.listen(64)
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.hostile.warm_server", str(listener.fileno())],
                pass_fds=[listener.fileno()],
                cwd=ROOT,
                env=environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
            )

    @contextlib.contextmanager
    def running(self, request: dict, streams: Sequence[int]) -> Iterator[tuple[int, BinaryIO]]:
        """A process that was started: its number, and what tells in a line of JSON how it ended."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(self.address)
            text = json.dumps(request).encode()
            socket.send_fds(connection, [len(text).to_bytes(8, "big")], streams)
            connection.sendall(text)
            with connection.makefile("rb") as lines:
                yield int(lines.readline()), lines


@cache
def server() -> Server:
    """The one of this test process."""
    return Server()


def warm(
    *arguments: str,
    stdin: bytes | int | None = None,
    stdout: int | None = None,
    stderr: int | None = None,
    before: str = "",
    cwd: Path = ROOT,
    limits: dict[str, int] | None = None,
    seconds: float = SECONDS,
    meanwhile: Callable[[int], object] | None = None,
    **env: str,
) -> Ended:
    """``attn ARGUMENTS`` to its end.

    Args:
        arguments: of the command line.
        stdin: bytes to pipe in, or a descriptor; nothing (``/dev/null``) by default.
        stdout: a descriptor to write to instead of collecting what is written.
        stderr: the same for standard error.
        before: Python that the new process executes first, such as to become two or to put in a double.
        cwd: the folder it runs in.
        limits: of `resource`, such as ``{"RLIMIT_FSIZE": 4096}``.
        seconds: after this much time of its own it is killed, and after `PATIENCE` times as much by the clock.
        meanwhile: is called with the process's number while it runs, such as to send it a signal.
        env: variables besides the cleaned ones of this process.
    """
    request = {
        "arguments": arguments,
        "cwd": str(cwd),
        "env": environment(**env),
        "limits": {"RLIMIT_CPU": math.ceil(seconds), **(limits or {})},
        "before": before,
    }
    late = threading.Event()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, _standard_input(stdin) as given:
        streams = [given, *(own.fileno() if to is None else to for own, to in ((out, stdout), (err, stderr)))]
        with server().running(request, streams) as (child, told):

            def stop() -> None:
                late.set()
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)

            timer = threading.Timer(PATIENCE * seconds, stop)
            timer.start()
            try:
                if meanwhile is not None:
                    meanwhile(child)
                ended = json.loads(told.readline())
            finally:
                timer.cancel()
        timed_out = late.is_set() or ended["returncode"] == -signal.SIGXCPU
        return Ended(ended["returncode"], _written(out), _written(err), ended["max_rss"], timed_out)


@contextlib.contextmanager
def _standard_input(given: bytes | int | None) -> Iterator[int]:
    if isinstance(given, int):
        yield given
    elif given is None:
        with open(os.devnull, "rb") as nothing:
            yield nothing.fileno()
    else:
        read, write = os.pipe()
        writer = threading.Thread(target=_pour, args=(write, given), daemon=True)
        writer.start()
        try:
            yield read
        finally:
            os.close(read)
            writer.join(SECONDS)


def _pour(write: int, given: bytes) -> None:
    # Whoever reads may have enough before the end.
    with contextlib.suppress(BrokenPipeError), os.fdopen(write, "wb") as pipe:
        pipe.write(given)


def _written(stream: BinaryIO) -> bytes:
    stream.seek(0)
    return stream.read()
