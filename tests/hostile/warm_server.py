"""Waits with everything imported, and becomes ``attn`` in a new process for every request: see `tests.hostile.warm`.

``python -m tests.hostile.warm_server LISTENER`` where LISTENER is a listening socket's descriptor; it ends
when its standard input does. A connection brings one request: a length (8 bytes), three descriptors (stdin, stdout,
stderr) and that many bytes of JSON; the answer is one line with the process's number, then one with how it ended.
"""

import atexit
import contextlib
import gc
import importlib
import io
import json
import os
import resource
import select
import signal
import socket
import sys
import traceback
import weakref

WARM = [
    "numpy.lib.format",
    "safetensors.torch",
    "torch",
    "rich.console",
    "attn_cli.__main__",
    "attn_cli.main",
    "attn_cli.commands.running",
    "attn_cli.commands.checking",
    "attn_cli.commands.differing",
    "attn_cli.commands.explaining",
    "attn_cli.commands.benching",
    "attn_cli.reporters.json_report",
    "attn_cli.reporters.saved",
]
PATIENCE = 60.0  # seconds, with whoever asks and does not say for what


def request_of(connection: socket.socket) -> tuple[dict, list[int]]:
    """What is asked for, and the descriptors.

    Raises:
        OSError, ValueError: where whoever asks is gone before it is told.
    """
    connection.settimeout(PATIENCE)
    head, streams, _, _ = socket.recv_fds(connection, 8, 3)
    try:
        length = int.from_bytes(head, "big")
        parts = bytearray()
        while len(parts) < length and (part := connection.recv(length - len(parts))):
            parts += part
        return json.loads(parts), streams
    except (OSError, ValueError):
        for stream in streams:
            os.close(stream)
        raise


def become_attn(request: dict, streams: list[int]) -> None:
    """Turn this process into ``attn ARGUMENTS``."""
    os.setsid()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    for stream in streams:
        os.close(stream)
    os.environ.clear()
    os.environ.update(request["env"])
    open_streams(os.environ.get("PYTHONIOENCODING", "utf-8"))
    os.chdir(request["cwd"])
    for name, most in request["limits"].items():
        kind = getattr(resource, name)
        # Of processor time the softer limit tells by its signal what has ended the process.
        resource.setrlimit(kind, (most, resource.getrlimit(kind)[1] if name == "RLIMIT_CPU" else most))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = ["attn", *request["arguments"]]
    exec(request["before"], {})


def open_streams(encoding: str) -> None:
    """Make the streams as Python's own start makes them of these descriptors."""
    name, _, errors = encoding.partition(":")
    for number, (stream, mode, usual) in enumerate(
        [("stdin", "r", "strict"), ("stdout", "w", "strict"), ("stderr", "w", "backslashreplace")]
    ):
        is_unbuffered = stream != "stdin" and bool(os.environ.get("PYTHONUNBUFFERED"))
        raw = open(number, f"{mode}b", 0 if is_unbuffered else -1, closefd=False)  # noqa: SIM115 (as long as it all)
        is_by_line = stream == "stderr" and not is_unbuffered
        made = io.TextIOWrapper(
            raw, name or "utf-8", errors or usual, line_buffering=is_by_line, write_through=is_unbuffered
        )
        setattr(sys, stream, made)
        setattr(sys, f"__{stream}__", made)


class Children:
    """The processes that were started and have not ended, and who is to be told of each."""

    def __init__(self) -> None:
        self._told: dict[int, socket.socket] = {}
        self._ended, woken = os.pipe()  # a byte for every signal
        for end in (self._ended, woken):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._streams = [self._ended, woken]

    def fileno(self) -> int:
        """It can be read from where a process has ended."""
        return self._ended

    def start(self, connection: socket.socket) -> bool:
        """Do what a connection asks for; True in the process that is to be ``attn``."""
        try:
            request, streams = request_of(connection)
        except (OSError, ValueError):
            connection.close()
            return False
        child = os.fork()
        if not child:
            self._forget()
            connection.close()
            become_attn(request, streams)
            return True
        for stream in streams:
            os.close(stream)
        self._told[child] = connection
        tell(connection, str(child))
        return False

    def _forget(self) -> None:
        """In a new process: leave nothing of the others' open."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for other in self._told.values():
            other.close()
        for stream in self._streams:
            os.close(stream)

    def tell_ended(self) -> None:
        """Tell of all that have ended."""
        with contextlib.suppress(BlockingIOError):
            while os.read(self._ended, 4096):
                pass
        while self._told:
            child, status, used = os.wait4(-1, os.WNOHANG)
            if not child:
                return
            with self._told.pop(child) as connection:
                ended = {"returncode": os.waitstatus_to_exitcode(status), "max_rss": used.ru_maxrss * 1024}
                tell(connection, json.dumps(ended))


def tell(connection: socket.socket, line: str) -> None:
    """Send a line to whoever is still there."""
    with contextlib.suppress(ConnectionError):
        connection.sendall(f"{line}\n".encode())


def serve(listener: socket.socket) -> None:
    """Answer requests, each in a process of its own; in one that is to be ``attn`` it returns."""
    children = Children()
    while True:
        ready, _, _ = select.select([listener, sys.stdin, children], [], [])
        if sys.stdin in ready:
            os._exit(0)
        if children in ready:
            children.tell_ended()
        if listener in ready:
            connection, _ = listener.accept()
            if children.start(connection):
                listener.close()
                return


def end() -> None:
    """Run ``attn`` as its console script does. Taking the interpreter apart, which costs 0.2 s, is left out."""
    from attn_cli.__main__ import run_and_exit

    code: object = 1
    try:
        run_and_exit()
    except SystemExit as stopped:
        code = stopped.code
    except BaseException:
        traceback.print_exc()
    atexit._run_exitfuncs()
    with contextlib.suppress(OSError):
        sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 1 if code else 0)


if __name__ == "__main__":
    for name in WARM:
        importlib.import_module(name)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # what has to die of a signal does so quickly
    importlib.import_module("attn_cli.main").commands()
    for finalizer in list(weakref.finalize._registry):
        finalizer.atexit = False  # taking PyTorch's own libraries apart takes a process longer than attn does
    gc.freeze()  # the memory that is shared with the children stays untouched
    serve(socket.socket(fileno=int(sys.argv[1])))
    end()
