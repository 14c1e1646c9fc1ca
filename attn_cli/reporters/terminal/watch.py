"""What ``attn record --stats`` shows on standard error while the program runs. Free of torch.

A table that is drawn over itself would overwrite what the program prints to the same terminal, its warnings and
progress bars among it, so a fresh table comes at growing intervals instead.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from os import PathLike

from rich.console import Console

from attn_cli.reporters.terminal.console import make_console
from attn_cli.reporters.terminal.watch_table import render_watch
from attn_cli.reporters.terminal.watch_totals import WatchTotals

LOOK_SECONDS = 0.1
FIRST_TABLE_SECONDS = 2.0
LONGEST_SECONDS = 60.0
BYTES_AT_ONCE = 2**20

Show = Callable[[WatchTotals], None]


def live_view(
    path: str | PathLike[str],
    finished: Callable[[], bool],
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> WatchTotals:
    """Show what the file at ``path`` tells until the program is over, and all of it once more then.

    Args:
        path: of the lines; it may not be there yet. A last line without its end is waited for.
        finished: whether the program is over, so that the file grows no more.
        clock: seconds.
        pause: waits for some seconds.

    Returns:
        What all lines add up to.
    """
    totals, tail = WatchTotals(), LineTail(path)
    console = make_console(stderr=True)
    show, is_over = _shown(console, clock), False
    while not is_over:
        is_over = finished()  # asked before the rest is read, which is whole then
        before = totals.calls
        for line in tail.lines():
            totals.add_text(line)
        if totals.calls > before and not is_over:
            show(totals)
        if not is_over:
            pause(LOOK_SECONDS)
    render_watch(totals, console)
    return totals


class LineTail:
    """The lines of a file that another process writes.

    Args:
        path: of the file.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self._path, self._read, self._rest = path, 0, b""

    def lines(self) -> Iterator[bytes]:
        """Every line that has come to its end since the last time."""
        try:
            with open(self._path, "rb") as file:
                file.seek(self._read)
                while text := file.read(BYTES_AT_ONCE):
                    self._read += len(text)
                    *whole, self._rest = (self._rest + text).split(b"\n")
                    yield from whole
        except FileNotFoundError:
            return


def _shown(console: Console, clock: Callable[[], float]) -> Show:
    """What to do with each news until the end: nothing where nobody is looking."""
    return _at_intervals(console, clock) if console.is_terminal and not console.is_dumb_terminal else _nothing


def _nothing(_totals: WatchTotals) -> None:
    """The table at the end is all."""


def _at_intervals(console: Console, clock: Callable[[], float]) -> Show:
    """A fresh table 2, 4, 8, 16, 32 seconds after the beginning and every minute, where there is news."""
    start, due = clock(), FIRST_TABLE_SECONDS

    def show(totals: WatchTotals) -> None:
        nonlocal due
        if clock() - start >= due:
            render_watch(totals, console, is_last=False)
            while due <= clock() - start:
                due += min(due, LONGEST_SECONDS)

    return show
