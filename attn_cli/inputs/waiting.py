"""A pipe from or to a program that takes its time is waited for, and whoever waits for input is told so."""

from __future__ import annotations

import io
import os
import select
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from attn_cli.inputs.limits import SILENCE_SECONDS
from attn_cli.inputs.text import shown

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


def comes(number: int, seconds: float | None = None) -> bool:
    """Wait until something can be read from a pipe, its end too; False where nothing came in so many seconds."""
    asked = select.poll()  # other than select() it takes every number that a descriptor has
    asked.register(number, select.POLLIN)
    return bool(asked.poll(None if seconds is None else 1000 * seconds))


def takes(number: int, seconds: float | None = None) -> bool:
    """Wait until something can be written to a pipe, or it is known that nobody will read it.

    False where neither came in so many seconds.
    """
    asked = select.poll()
    asked.register(number, select.POLLOUT)
    return bool(asked.poll(None if seconds is None else 1000 * seconds))


class WaitedFor(io.FileIO):
    """A pipe that is read; where nothing comes for some seconds, one line on stderr says what attn waits for.

    Args:
        number: the descriptor.
        label: what messages call it.
        closefd: whether the descriptor is closed with it.
    """

    def __init__(self, number: int, label: str, *, closefd: bool = True) -> None:
        super().__init__(number, "rb", closefd)
        self._label = label
        self._count = 0
        self._is_told = os.name != "posix"  # elsewhere nothing but a socket can be asked

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Fill the buffer with what has come, and wait for the first byte of it."""
        if not self._is_told and not comes(self.fileno(), SILENCE_SECONDS):
            self._is_told = True
            self._tell()
        while (count := super().readinto(buffer)) is None:  # another program has made the pipe one that does not wait
            comes(self.fileno())
        self._count += count
        return count

    def _tell(self) -> None:
        so_far = f"{self._count} byte{'' if self._count == 1 else 's'} so far"
        with suppress(OSError, AttributeError):  # stderr is closed: there is nobody to tell
            sys.stderr.write(f"attn: waiting for {shown(self._label)}: {so_far}\n")
            sys.stderr.flush()
