"""A mapped file that is cut short while it is read: what is lost reads as zeros, where it would end the process.

The system answers a look at a page behind the end of a file with the signal SIGBUS. The handler here puts empty pages
in the place of those that are lost, so that the work goes on; that the file was cut short is told before any result of
it is (:meth:`attn_cli.inputs.readers.opened.OpenFile.check_unchanged`). A SIGBUS for another reason does what it did.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import signal
import sys
import threading
import weakref
from dataclasses import dataclass
from functools import cache
from typing import Any

FIXED = 0x10  # MAP_FIXED, on Linux and macOS
PAGE = mmap.PAGESIZE
State = tuple[int, int]  # of a file: its size, and when it was written to
CAN_GUARD = hasattr(signal, "SIGBUS") and hasattr(mmap, "MAP_ANONYMOUS")


class Descriptor:
    """The number of an open file, which is closed when nothing needs it any more.

    Args:
        number: of the file.

    Attributes:
        least: how long the file was when a part of it was found to be lost.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.least = sys.maxsize
        weakref.finalize(self, os.close, number)

    def status(self) -> os.stat_result:
        """Size and times as they are now."""
        return os.fstat(self.number)


@dataclass
class _Mapping:
    """Part of a file in memory.

    Attributes:
        address: of its first byte, at the beginning of a page.
        length: in bytes.
        offset: of its first byte in the file.
        file: that it is of.
        whole: how many bytes of it are there, or empty by now.
    """

    address: int
    length: int
    offset: int
    file: Descriptor
    whole: int


class _Guard:
    """The handler of this process, and the mappings that it is for."""

    def __init__(self) -> None:
        libc: Any = ctypes.CDLL(None)
        self._map, self._signal = libc.mmap, libc.signal
        self._map.restype = self._signal.restype = ctypes.c_void_p
        self._map.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long)
        self._signal.argtypes = (ctypes.c_int, ctypes.c_void_p)
        self._handler = ctypes.cast(ctypes.CFUNCTYPE(None, ctypes.c_int)(self._answer), ctypes.c_void_p)
        self._before: int | None = None
        self._is_there = False
        self._mappings: dict[int, _Mapping] = {}
        self._seen: dict[int, list[State]] = {}  # by thread

    def add(self, owner: object, mapping: _Mapping) -> None:
        self._mappings[id(mapping)] = mapping
        weakref.finalize(owner, self._mappings.pop, id(mapping), None).atexit = False
        if not self._is_there:
            self._before = self._signal(signal.SIGBUS, self._handler)
            self._is_there = True

    def _answer(self, number: int) -> None:
        """Called in the thread that looked, which looks again afterwards: it must neither fail nor wait.

        Where it comes again and no file is another than before, what it looks at is in none of the mappings.
        """
        states = [self._refill(mapping) for mapping in list(self._mappings.values())]
        thread = threading.get_ident()
        if self._seen.get(thread) == states:
            self._signal(number, self._before)
            self._is_there = False
        self._seen[thread] = states

    def _refill(self, mapping: _Mapping) -> State:
        """Empty pages from the end of the file on; what the file is now."""
        status = mapping.file.status()
        there = -(-max(status.st_size - mapping.offset, 0) // PAGE) * PAGE
        if there < mapping.whole:
            kind = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | FIXED
            allowed = mmap.PROT_READ | mmap.PROT_WRITE
            mapping.file.least = min(status.st_size, mapping.file.least)
            self._map(mapping.address + there, mapping.length - there, allowed, kind, -1, 0)
            mapping.whole = there
        return status.st_size, status.st_mtime_ns


@cache
def _guard() -> _Guard:
    return _Guard()


def survive_loss(owner: object, address: int, length: int, offset: int, file: Descriptor) -> None:
    """Let this process outlive that a mapped file is cut short.

    Args:
        owner: lives as long as the mapping.
        address: of the first byte in memory.
        length: of the mapping in bytes.
        offset: of its first byte in the file.
        file: that is mapped.
    """
    if CAN_GUARD and length:
        shift = address % PAGE
        begin = address - shift
        _guard().add(owner, _Mapping(begin, length + shift, offset - shift, file, length + shift))
