"""A progress bar on standard error for what takes longer than a second."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Protocol

from attn_cli.reporters.terminal.console import is_terminal, make_console

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

PATIENCE_SECONDS = 1.0
BEFORE = "running the kernel"


class Tell(Protocol):
    """Tells how much is done, of how much."""

    def __call__(self, done: float, total: float, description: str | None = None) -> None:
        """``description`` is what is going on from now on; None leaves it as it is."""


class _Bar:
    """Silent for the first second; then a bar with the time spent and an estimate of the time left.

    Until something is known of how much is done it says that something is going on: a kernel tells nothing on its way.
    """

    def __init__(self, description: str) -> None:
        self._description = description
        self._lock = threading.Lock()
        self._done, self._total = 0.0, 0.0
        self._shown: tuple[Progress, TaskID] | None = None
        self._timer = threading.Timer(PATIENCE_SECONDS, self._show)
        self._timer.daemon = True
        with suppress(RuntimeError):  # where no thread can be started there is no bar
            self._timer.start()

    def update(self, done: float, total: float, description: str | None = None) -> None:
        with self._lock:
            self._description = self._description if description is None else description
            self._done, self._total = done, total
            if self._shown is not None:
                progress, task = self._shown
                progress.update(task, completed=done, total=total, description=self._description)

    def _show(self) -> None:
        # Most runs are done before a bar is due: they are spared the import.
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
        from rich.progress import TimeRemainingColumn as Remaining

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            Remaining(),
        )
        with self._lock:
            if self._timer.finished.is_set():
                return
            progress = Progress(*columns, console=make_console(stderr=True), transient=True)
            description = self._description if self._total else BEFORE
            task = progress.add_task(description, total=self._total or None)
            progress.update(task, completed=self._done)
            progress.start()
            self._shown = progress, task

    def close(self) -> None:
        self._timer.cancel()
        with self._lock:
            if self._shown is not None:
                self._shown[0].stop()


def _nothing(done: float, total: float, description: str | None = None) -> None:
    """No bar: standard error is no terminal, or one that cannot go back on its line."""


@contextmanager
def progress_bar(description: str = "inspecting") -> Iterator[Tell]:
    """A function to tell how much is done, of how much, and what is going on where that changes.

    It shows a bar after a second, on a terminal.

    Args:
        description: what is going on.
    """
    if not is_terminal(sys.stderr) or make_console(stderr=True).is_dumb_terminal:
        yield _nothing
        return
    bar = _Bar(description)
    try:
        yield bar.update
    finally:
        bar.close()
