"""Waits with everything imported, and becomes ``attn`` in a new process for every request: see `tests.hostile.warm`.

``python -m tests.hostile.warm_server LISTENER`` where LISTENER is a listening socket's descriptor; it ends
when its standard input does. A connection brings one request: a length (8 bytes), three descriptors (stdin, stdout,
stderr) and that many bytes of JSON; the answer is one line with the process's number, then one with how it ended.
"""

import atexit
import contextlib
import gc
import importlib
import json
import os
import resource
import select
import signal
import socket
import sys
import traceback

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


def request_of(connection: socket.socket) -> tuple[dict, list[int]]:
    """What is asked for, and the descriptors."""
    head, streams, _, _ = socket.recv_fds(connection, 8, 3)
    length = int.from_bytes(head, "big")
    parts = bytearray()
    while len(parts) < length:
        parts += connection.recv(length - len(parts))
    return json.loads(parts), streams


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
        buffering = 1 if stream == "stderr" else -1
        made = open(  # noqa: SIM115 (as long as the process)
            number, mode, buffering, encoding=name or "utf-8", errors=errors or usual, closefd=False
        )
        setattr(sys, stream, made)
        setattr(sys, f"__{stream}__", made)


def answer(connection: socket.socket) -> None:
    """Answer one request; in the process that is to be ``attn`` it returns."""
    request, streams = request_of(connection)
    child = os.fork()
    if not child:
        connection.close()
        become_attn(request, streams)
        return
    for stream in streams:
        os.close(stream)
    connection.sendall(f"{child}\n".encode())
    _, status, used = os.wait4(child, 0)
    ended = {"returncode": os.waitstatus_to_exitcode(status), "max_rss": used.ru_maxrss * 1024}
    connection.sendall(f"{json.dumps(ended)}\n".encode())
    os._exit(0)


def serve(listener: socket.socket) -> None:
    """Answer requests, each in a process of its own; in one that is to be ``attn`` it returns."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # those who answer are waited for by nobody
    while True:
        ready, _, _ = select.select([listener, sys.stdin], [], [])
        if sys.stdin in ready:
            os._exit(0)
        connection, _ = listener.accept()
        if not os.fork():
            listener.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            answer(connection)
            return
        connection.close()


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
    gc.freeze()  # the memory that is shared with the children stays untouched
    serve(socket.socket(fileno=int(sys.argv[1])))
    end()
