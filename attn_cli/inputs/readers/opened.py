"""An open file whose bytes become tensors: small ones copied, large ones mapped into memory."""

from __future__ import annotations

import ctypes
import io
import mmap
import os
import sys
from typing import Any, BinaryIO, cast

from attn_cli.errors import InputError, in_file
from attn_cli.inputs.limits import COPIED
from attn_cli.inputs.paths import open_regular
from attn_cli.inputs.readers.vanishing import Descriptor, survive_loss

DESCRIPTORS = "/proc/self/fd" if sys.platform == "linux" else "/dev/fd"
NORESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000 if sys.platform == "linux" else 0)  # Python has its name from 3.12


class OpenFile:
    """A regular file, open for reading; all that is read of it is of this file, whatever its path comes to name.

    Args:
        path: of the file.
        label: how messages name it, ``path`` by default.

    Raises:
        InputError, ResourceError: where it cannot be opened.
    """

    def __init__(self, path: str, label: str | None = None) -> None:
        self.path, self.label = path, path if label is None else label
        self.descriptor = Descriptor(open_regular(path, self.label))
        status = self.descriptor.status()
        self.size, self._time = status.st_size, status.st_mtime_ns

    @property
    def own_path(self) -> str:
        """A path that is this file's as long as it is open, where the system has such; else the one it had."""
        path = f"{DESCRIPTORS}/{self.descriptor.number}"
        return path if os.path.exists(path) else self.path

    def stream(self) -> BinaryIO:
        """The file from its beginning, with a place of its own."""
        return cast(BinaryIO, io.BufferedReader(_Bytes(self.descriptor)))

    def bytes_at(self, offset: int, length: int) -> memoryview:
        """So many bytes of the file, to be written to without harm to it.

        Args:
            offset: of the first.
            length: how many, at least 1. Of more than :data:`COPIED`, only what is looked at is ever read.

        Raises:
            InputError: where the file has become shorter.
        """
        return self._copied(offset, length) if length <= COPIED else self._mapped(offset, length)

    def check_unchanged(self) -> None:
        """Refuse a file that is not what it was when it was opened: what was read of it belongs to no file at all.

        Raises:
            InputError: where it was written to or cut short.
        """
        status = self.descriptor.status()
        size = min(status.st_size, self.descriptor.least)
        if size < self.size:
            raise self._cut_short(size)
        if (status.st_size, status.st_mtime_ns) != (self.size, self._time):
            raise in_file(self.label, "was written to while it was read", "expected a file that stays as it is")

    def _copied(self, offset: int, length: int) -> memoryview:
        done, view = 0, memoryview(bytearray(length))
        while done < length:
            count = _read_at(self.descriptor.number, view[done:], offset + done)
            if count == 0:
                raise self._cut_short(self.descriptor.status().st_size)
            done += count
        return view

    def _mapped(self, offset: int, length: int) -> memoryview:
        shift = offset % mmap.ALLOCATIONGRANULARITY
        begin, whole = offset - shift, length + shift
        mapped = _map(self.descriptor.number, begin, whole)
        survive_loss(mapped, _address(mapped), whole, begin, self.descriptor)
        return memoryview(mapped)[shift:]

    def _cut_short(self, size: int) -> InputError:
        found = f"was cut short while it was read, from {self.size} bytes to {size}"
        return in_file(self.label, found, "expected a file that stays as it is")


class _Bytes(io.RawIOBase):
    """The bytes of an open file, each asked for by its place."""

    def __init__(self, file: Descriptor) -> None:
        super().__init__()
        self._file, self._place = file, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        begin = {os.SEEK_SET: 0, os.SEEK_CUR: self._place}.get(whence)
        self._place = (self._file.status().st_size if begin is None else begin) + offset
        return self._place

    def readinto(self, into: Any) -> int:
        count = _read_at(self._file.number, memoryview(into), self._place)
        self._place += count
        return count


def _map(number: int, offset: int, length: int) -> mmap.mmap:
    """So much of a file in memory, its own copy wherever it is written to."""
    if not hasattr(mmap, "MAP_PRIVATE"):
        return mmap.mmap(number, length, access=mmap.ACCESS_COPY, offset=offset)
    flags, allowed = mmap.MAP_PRIVATE | NORESERVE, mmap.PROT_READ | mmap.PROT_WRITE
    return mmap.mmap(number, length, flags=flags, prot=allowed, offset=offset)


def _address(mapped: mmap.mmap) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(mapped))


def _read_at(number: int, into: memoryview, offset: int) -> int:
    if hasattr(os, "preadv"):
        try:
            return os.preadv(number, [into], offset)
        except BlockingIOError as error:  # of a file of the system's; NumPy would ask again without end
            raise io.UnsupportedOperation(error.strerror) from error
    os.lseek(number, offset, os.SEEK_SET)
    content = os.read(number, len(into))
    into[: len(content)] = content
    return len(content)
