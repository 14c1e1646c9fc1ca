"""Another program as a child of this process: its signals and its exit code are its own."""

from __future__ import annotations

import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType

from attn_cli.errors import ResourceError

# The terminal sends these to the child as well; what becomes of it is the child's to say.
LEFT_TO_CHILD = ("SIGINT", "SIGQUIT")
PASSED_ON = ("SIGTERM", "SIGHUP")
KILLED = 128


class Child:
    """A program that is to run, or runs."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._early: list[int] = []

    def start(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start it with this process's own standard streams and open files.

        Raises:
            ResourceError: where the system refuses.
        """
        try:
            self._process = subprocess.Popen(command, env=environment, close_fds=False)
        except OSError as error:
            reason = error.strerror or str(error)
            raise ResourceError(f"{command[0]}: cannot be started: {reason}; expected a Python interpreter") from error
        for number in self._early:
            self._process.send_signal(number)

    def has_ended(self) -> bool:
        """Whether it is over."""
        return self._process is None or self._process.poll() is not None

    def wait(self) -> int:
        """Its exit code, once it is over; 128 + n where signal n has killed it."""
        if self._process is None:
            return 0
        code = self._process.wait()
        return code if code >= 0 else KILLED - code

    def leave(self, number: int, _frame: FrameType | None) -> None:
        """Leave to it what has come to it as well; what came before it was there it gets when it is.

        A function, not ``SIG_IGN``, which the child would inherit.
        """
        if self._process is None:
            self._early.append(number)

    def pass_on(self, number: int, _frame: FrameType | None) -> None:
        """Send it a signal that has come to this process."""
        if self._process is None:
            self._early.append(number)
        else:
            self._process.send_signal(number)


@contextmanager
def child() -> Iterator[Child]:
    """A child to start, while this process outlives what is sent to it; the block's end is after the child's."""
    made = Child()
    before = {}
    try:
        if threading.current_thread() is threading.main_thread():
            before = _handle(LEFT_TO_CHILD, made.leave) | _handle(PASSED_ON, made.pass_on)
        try:
            yield made
        finally:
            made.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _handle(names: Sequence[str], handler: signal._HANDLER) -> dict[int, signal._HANDLER]:
    """Set a handler for these signals, and say what was there; one that is ignored stays so, for the child too."""
    before: dict[int, signal._HANDLER] = {}
    for number in (getattr(signal, name) for name in names if hasattr(signal, name)):
        old = signal.getsignal(number)
        if old is not None and old != signal.SIG_IGN:
            before[number] = old
            signal.signal(number, handler)
    return before
