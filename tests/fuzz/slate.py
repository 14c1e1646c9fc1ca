"""Memory that a worker shares with whoever watches it, so that what it was at is known when it dies."""

import mmap
import struct
import time

from tests.fuzz.case import LONGEST

COUNTS = struct.Struct("<QQQQQQdQ")
START = 256


class Slate:
    """What a worker has done and what it is at.

    Attributes:
        tried: inputs that were made anew and run.
        passed: inputs that were made and are none for the target.
        replayed: inputs of an earlier corpus that were run again.
        refused: inputs that were answered with an exit code above 1.
        breaches: breaches that were seen, those that are known included.
    """

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, START + 2 * LONGEST)
        self.tried = self.passed = self.replayed = self.refused = self.breaches = 0

    def begin(self, data: bytes) -> None:
        """An input is about to be run."""
        self._memory[START : START + len(data)] = data
        self._write(len(data), time.monotonic())

    def end(self) -> None:
        """It is over."""
        self._write(0, 0.0)

    def look(self) -> tuple[bytes, float]:
        """Read the counts; the input that is being run (empty: none) and for how many seconds."""
        *counts, size, since, _ = COUNTS.unpack_from(self._memory, 0)
        self.tried, self.passed, self.replayed, self.refused, self.breaches = counts
        return bytes(self._memory[START : START + size]), time.monotonic() - since if since else 0.0

    def _write(self, size: int, since: float) -> None:
        counts = (self.tried, self.passed, self.replayed, self.refused, self.breaches)
        COUNTS.pack_into(self._memory, 0, *counts, size, since, 0)
