"""What ends attn from outside, Ctrl-C, SIGTERM and SIGHUP, and what they must not tear apart.

Signals are the process's, so the little that is noted here is too.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

CTRL_C = ("SIGINT",)
ENDING = ("SIGINT", "SIGTERM", "SIGHUP")
USUAL = (signal.SIG_DFL, signal.default_int_handler)  # what Python itself sets; anything else is somebody's choice
KILLED = 128  # a process that signal n has ended has 128 + n as its exit code
PATIENCE_SECONDS = 2.0  # for a kernel in which no exception can be raised
LOOKS = 40  # in that time
BEFORE_SECONDS = 1.0  # Python may have noticed a signal so long before the thread that watches it
AGAIN_SECONDS = 0.01
LastWords = Callable[[int], object]
Handler = Callable[[int, FrameType | None], Any] | int | None
Handlers = dict[int, Handler]


class Terminated(SystemExit):
    """The process was told to end.

    Attributes:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(KILLED + number)
        self.number = number


class _State:
    """What is going on: whose process it is, and what a signal that comes now may do.

    Attributes:
        last_words: what attn says where its own process ends at once; None in any other process.
        is_loading: libraries are being loaded.
        held: how many blocks hold signals back.
        arrived: the first signal that came meanwhile.
        noticed: when Python came to call the handler last.
        raised: the signal for which an exception was raised last.
    """

    last_words: LastWords | None = None
    is_loading = False
    held = 0
    arrived: int | None = None
    noticed = -math.inf
    raised: int | None = None


_unfinished: dict[Path, int] = {}  # by process: a forked child leaves alone what is its parent's


@contextmanager
def obeyed(last_words: LastWords | None = None) -> Iterator[None]:
    """Let signals end the block with an exception; what is left unfinished is removed in the end.

    A signal that is ignored, or that somebody else deals with, stays so. SIGINT is a KeyboardInterrupt, the others are
    :class:`Terminated`.

    Args:
        last_words: where this process is attn's own: it is called with the signal's number where the process ends at
            once. That happens while libraries are loaded, and where Python does not come to raise an exception for
            seconds, because a kernel computes. Behind the block signals are ignored, for the answer is given. None in
            a program that calls attn.
    """
    before: Handlers = {}
    _State.raised = None
    try:
        _handle(ENDING, _on_arrival, before)
        _State.last_words = last_words if before else None
        with _watched() if is_own_process() else contextlib.nullcontext(), _raised_again():
            yield
    finally:
        _State.held += 1  # before anything is called: a second Ctrl-C must not leave half of it behind
        _handle_all(before, signal.SIG_IGN)
        remove_unfinished()
        _State.held, _State.arrived = _State.held - 1, None
        if not is_own_process():
            _restore(before)


def is_own_process() -> bool:
    """Whether nothing but attn goes on in this process."""
    return _State.last_words is not None


@contextmanager
def loading() -> Iterator[None]:
    """Load libraries, half of which could fail by itself: attn ends at once, any other program afterwards."""
    if not is_own_process():
        with held_back():
            yield
        return
    _State.is_loading = True
    try:
        yield
    finally:
        _State.is_loading = False


@contextmanager
def held_back() -> Iterator[None]:
    """Do the block as a whole: what came meanwhile ends it afterwards.

    In a program that is not attn, only a Ctrl-C is held back.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before: Handlers = {}
    _State.held += 1  # as long as attn's handler is there: it must raise nothing beside the block
    try:
        _handle(CTRL_C, _on_arrival, before)
        yield
    finally:
        try:
            _restore(before)
        finally:
            _State.held -= 1
            if not _State.held and _State.arrived is not None:
                arrived, _State.arrived = _State.arrived, None
                _end(arrived)


def raise_again() -> None:
    """Raise what a signal has raised before, if one has: a library may have made an error of its own of it."""
    if _State.raised is not None:
        _end(_State.raised)


def mark_unfinished(path: Path) -> None:
    """Note a file or folder that must not outlive the process as it is."""
    _unfinished[path] = os.getpid()


def remove_unfinished(path: Path | None = None) -> None:
    """Remove this one, or all that are still noted; what is gone, or cannot be removed, is no longer noted either."""
    for one in [path] if path is not None else list(_unfinished):
        with held_back():
            if _unfinished.get(one) == os.getpid():
                _remove(one)
            _unfinished.pop(one, None)


def _remove(path: Path) -> None:
    """Remove as much of it as can be; but one file is open at a time, as there may be no more than made it."""
    with contextlib.suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            for name in os.listdir(path):
                _remove(path / name)
            path.rmdir()
        else:
            path.unlink(missing_ok=True)


@contextmanager
def _watched() -> Iterator[None]:
    """Have a thread end the process where Python does not come to notice a signal."""
    if not hasattr(os, "set_blocking"):  # Windows before Python 3.12
        yield
        return
    try:
        read, write = os.pipe()
    except OSError:
        yield
        return
    try:
        threading.Thread(target=_watch, args=(read,), daemon=True).start()
    except RuntimeError:  # where there can be no thread
        os.close(read)
        os.close(write)
        yield
        return
    os.set_blocking(write, False)
    before = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.close(write)  # the thread closes the other end


@contextmanager
def _raised_again() -> Iterator[None]:
    """Where an exception came to a place that swallows all, such as a destructor, raise it again soon."""
    before = sys.unraisablehook

    def hook(lost: sys.UnraisableHookArgs) -> None:
        if isinstance(lost.exc_value, (KeyboardInterrupt, Terminated)):
            number = getattr(lost.exc_value, "number", signal.SIGINT)
            with contextlib.suppress(RuntimeError):  # where there can be no thread
                threading.Timer(AGAIN_SECONDS, os.kill, (os.getpid(), number)).start()
        else:
            before(lost)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before


def _watch(read: int) -> None:
    with contextlib.closing(os.fdopen(read, "rb", buffering=0)) as arrived:
        while number := arrived.read(1):
            if signal.getsignal(number[0]) is _on_arrival and not _is_noticed(number[0]):
                _end_at_once(number[0])


def _is_noticed(number: int) -> bool:
    """Whether Python has come to call the handler, or comes to it within its time."""
    since = time.monotonic() - BEFORE_SECONDS
    for look in range(LOOKS):
        if _State.noticed > since:
            return True
        if look == 1:  # of several at once another thread may have taken all, while the main thread waits for a pipe
            signal.pthread_kill(threading.main_thread().ident or 0, number)
        time.sleep(PATIENCE_SECONDS / LOOKS)
    return False


def _handle(names: Sequence[str], handler: Handler, before: Handlers) -> None:
    """Set a handler where nobody has chosen one, and note what was there before any is set."""
    if threading.current_thread() is not threading.main_thread():
        return
    there = (getattr(signal, name) for name in names if hasattr(signal, name))
    before |= {number: old for number in there if (old := signal.getsignal(number)) in USUAL}
    _handle_all(before, handler)


def _restore(before: Handlers) -> None:
    for number in reversed(before):  # SIGINT last: it may raise as soon as it is back
        signal.signal(number, before[number])


def _handle_all(numbers: Handlers, handler: Handler) -> None:
    for number in numbers:
        signal.signal(number, handler)


def _on_arrival(number: int, _frame: FrameType | None) -> None:
    _State.noticed = time.monotonic()
    if _State.is_loading:
        _end_at_once(number)
    elif not _State.held:
        _end(number)
    elif _State.arrived is None:
        _State.arrived = number


def _end_at_once(number: int) -> None:
    try:
        remove_unfinished()
        if _State.last_words is not None:
            _State.last_words(number)
    finally:
        os._exit(KILLED + number)


def _end(number: int) -> None:
    """Leave what is going on.

    Raises:
        KeyboardInterrupt: for SIGINT.
        Terminated: for the others.
    """
    _State.raised = number
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise Terminated(number)
