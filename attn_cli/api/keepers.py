"""Where a recording goes while its block runs, and how it becomes a file at the end."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from typing import Protocol

from attn_cli.recording.types import Sink
from attn_cli.recording.watching import Watcher
from attn_cli.reporters.captures.finish import finish_capture
from attn_cli.reporters.captures.folder import working_folder
from attn_cli.reporters.captures.journal import CaptureJournal
from attn_cli.reporters.captures.lines import finish_lines
from attn_cli.reporters.watch_lines import WatchLines


class Keeper(Protocol):
    """Takes the calls of one recording, and gives the file its name."""

    @property
    def sink(self) -> Sink:
        """What takes the calls."""
        ...

    @property
    def why_full(self) -> str | None:
        """What there is no more room in, or None."""
        ...

    def finish(self) -> int:
        """Make the file appear, whole; without a call nothing is written and nothing replaced.

        Returns:
            How many of the last calls the disk had no room for.

        Raises:
            ResourceError: where the disk refuses.
        """
        ...


class CaptureKeeper:
    """Q, K, V and rules of every call, as a safetensors file.

    Args:
        target: the file to write or to replace.
        max_bytes: how large the tensors may become together, or None.
        stack: removes what is not finished when it is closed.

    Raises:
        ResourceError: where nothing can be written there.
    """

    def __init__(self, target: str, max_bytes: int | None, stack: ExitStack) -> None:
        folder = stack.enter_context(working_folder(target))
        self._target, self._data, self._index = target, folder / "data", folder / "index"
        self.sink = CaptureJournal(self._data, self._index, max_bytes)

    @property
    def why_full(self) -> str | None:
        """What there is no more room in, or None."""
        return self.sink.why_full

    def finish(self) -> int:
        """Make the file appear."""
        return finish_capture(self._data, self._index, self._target, sys.argv[0] or "python").dropped


class LinesKeeper:
    """What every call did, a line of JSON each.

    Args:
        target: the file to write or to replace.
        stack: removes what is not finished when it is closed.

    Raises:
        ResourceError: where nothing can be written there.
    """

    def __init__(self, target: str, stack: ExitStack) -> None:
        self._target, self._lines = target, stack.enter_context(working_folder(target)) / "lines"
        self.sink = Watcher(WatchLines(self._lines).write)

    @property
    def why_full(self) -> str | None:
        """There is always room for a line."""
        return None

    def finish(self) -> int:
        """Make the file appear."""
        finish_lines(self._lines, self._target)
        return 0
