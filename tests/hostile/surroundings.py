"""What the tests of the world outside put around ``attn``: Python for `warm`'s ``before``, and command lines."""

import ctypes
import os
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

from tests.cli.process import MINILM

LAYER = (MINILM, "--layer", "3", "--head", "0,1")
BENCH = ("bench", "--seq", "8", "--backend", "math", "--min-time", "0.001")
DIFF = ("diff", *LAYER, "--backend", "math", "--against", "textbook")
EXPLAIN = ("explain", MINILM, "--layer", "3", "--head", "1", "--query", "2")

# Every command with every form of what it prints.
PRINTING = [
    ("run", *LAYER), ("run", *LAYER, "--json"), ("run", MINILM), ("demo",), ("demo", "--steps"), ("demo", "--json"),
    ("check", *LAYER), ("check", *LAYER, "--json"), ("check", "--rule", "all"), DIFF, (*DIFF, "--json"),
    EXPLAIN, (*EXPLAIN, "--json"), BENCH, (*BENCH, "--json"), (*BENCH, "--csv"), (*BENCH, "--markdown"),
    ("schema", "run"), ("--help",), ("run", "--help"), ("--version",),
]  # fmt: skip

# What is measured matters to no test here.
MEASURED_BENCH = """
from attn_cli.commands import benching
from tests.reporters.bench_results import FULL
benching.run_bench = lambda *_: FULL
"""

CLOSED = """
import os, sys
for number, name in {streams!r}:
    os.close(number)
    setattr(sys, name, None), setattr(sys, f"__{{name}}__", None)
"""

HELD = """
import os, sys, time
def hold(frame, event, function):
    if event in ("call", "c_call"):
        name = frame.f_code.co_name if event == "call" else function.__name__
        if name == {name!r} and os.path.basename(frame.f_code.co_filename) == {file!r}:
            sys.setprofile(None)
            open({mark!r}, "w").close()
            {wait}
sys.setprofile(hold)
"""
ASLEEP = "time.sleep({seconds})"
UNTIL_SENT = "while os.path.exists({mark!r}): time.sleep(0.005)"

_LIBC = """
import ctypes, os, struct
libc = ctypes.CDLL(None, use_errno=True)
def call(name, *arguments):
    if getattr(libc, name)(*arguments):
        raise OSError(ctypes.get_errno(), name)
"""

# Without the right to pass over permissions root is bound by them like everyone else.
BOUND_BY_PERMISSIONS = (
    _LIBC
    + """
if not os.geteuid():
    call("capset", struct.pack("Ii", 0x20080522, 0), bytes(24))
"""
)

# A user who may read everything, but not start a thread or a process.
NO_THREADS = (
    _LIBC
    + """
import resource
READ = 1 << 1 | 1 << 2  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
call("prctl", 8, 1, 0, 0, 0)  # PR_SET_KEEPCAPS
resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
os.setgroups([]), os.setresgid(65534, 65534, 65534), os.setresuid(65534, 65534, 65534)
call("capset", struct.pack("Ii", 0x20080522, 0), struct.pack("6I", READ, READ, 0, 0, 0, 0))
"""
)


def held(place: str, mark: Path, seconds: float = 60) -> str:
    """Has attn sleep where it first calls something, and a file appear then.

    Args:
        place: ``FILE:NAME``, the file that the function is in, or that calls it where it is not Python's own.
        mark: the file.
        seconds: how long.
    """
    return _held(place, mark, ASLEEP.format(seconds=seconds))


def held_until_sent(place: str, mark: Path) -> str:
    """The same for what a signal does not end at once: it goes on when :func:`sending` has sent, however late."""
    return _held(place, mark, UNTIL_SENT.format(mark=str(mark)))


def _held(place: str, mark: Path, wait: str) -> str:
    file, name = place.split(":")
    return HELD.format(file=file, name=name, mark=str(mark), wait=wait)


def sending(mark: Path, *numbers: int) -> Callable[[int], None]:
    """Sends a process these signals as soon as it is held, and removes the mark; one that ends before is a fault."""

    def send(child: int) -> None:
        while not mark.exists():
            os.kill(child, 0)
            time.sleep(0.002)
        for number in numbers:
            os.kill(child, number)
        mark.unlink()

    return send


def closed(*names: str) -> str:
    """Closes these standard streams, as ``>&-`` does."""
    numbers = {"stdin": 0, "stdout": 1, "stderr": 2}
    return CLOSED.format(streams=[(numbers[name], name) for name in names])


def small_disk(folder: object, size: int) -> str:
    """Puts a disk of so many bytes in the place of a folder, for this process alone, which tells what is left there."""
    return (
        _LIBC
        + f"""
call("unshare", 0x20000)  # CLONE_NEWNS
call("mount", b"none", b"/", None, 0x44000, None)  # MS_REC | MS_PRIVATE
folder = {os.fsencode(str(folder))!r}
call("mount", b"none", folder, b"tmpfs", 0, b"size={size}")
open(os.path.join(folder, b"before"), "w").close()
child = os.fork()
if child:
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os.write(2, b"left: " + b" ".join(sorted(os.listdir(folder))) + b"\\n")
    os._exit(code)
"""
    )


def mounted_onto(target: object, source: object) -> str:
    """Mounts one file onto another, for this process alone, as a container does."""
    return (
        _LIBC
        + f"""
call("unshare", 0x20000)
call("mount", b"none", b"/", None, 0x44000, None)
call("mount", {os.fsencode(str(source))!r}, {os.fsencode(str(target))!r}, None, 0x1000, None)  # MS_BIND
"""
    )


def read_only_disk(folder: object) -> str:
    """Makes what is in a folder read-only, for this process alone, whoever asks."""
    return (
        _LIBC
        + f"""
call("unshare", 0x20000)
call("mount", b"none", b"/", None, 0x44000, None)
folder = {os.fsencode(str(folder))!r}
call("mount", folder, folder, None, 0x1000, None)  # MS_BIND
call("mount", b"none", folder, None, 0x1021, None)  # MS_BIND | MS_REMOUNT | MS_RDONLY
"""
    )


@cache
def can_mount() -> bool:
    """Whether this user may put disks into places of its own."""
    libc = ctypes.CDLL(None)
    child = os.fork()
    if not child:
        os._exit(1 if libc.unshare(0x20000) else 0)
    return os.geteuid() == 0 and os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
