"""What the C library does with freed memory: kept while time is taken, given back while memory is measured."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import torch

# Parameters of glibc's mallopt(3).
M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3
M_MMAP_MAX = -4
TOOK = 1


@dataclass(frozen=True)
class _Settings:
    """Where large blocks come from, and when the heap shrinks; bytes and a count."""

    mmap_max: int
    mmap_threshold: int
    trim_threshold: int


_DEFAULT = _Settings(mmap_max=65_536, mmap_threshold=128 * 1024, trim_threshold=128 * 1024)
_KEEPING = _Settings(mmap_max=0, mmap_threshold=128 * 1024, trim_threshold=2**31 - 1)
_in_force: list[_Settings] = [_DEFAULT]


@contextmanager
def keeping_freed_memory(device: torch.device) -> Iterator[bool]:
    """Have the C library keep what is freed, and give all of it back afterwards.

    As it stands, glibc maps each large tensor anew and unmaps it when it is freed, so that a run pays for pages which
    the kernel must clear first: how much differs from run to run and from process to process. Here large tensors come
    from a heap that does not shrink.

    Args:
        device: that a benchmark runs on; nothing is changed but for the CPU.

    Yields:
        Whether it is kept; False for another device, system or C library.
    """
    if not keeps_freed_memory(device):
        yield False
        return
    try:
        with _under(_KEEPING) as took:
            yield took
    finally:
        trim()


@contextmanager
def giving_back_freed_memory() -> Iterator[None]:
    """Have the C library map each large tensor by itself, so that what is resident is what is held.

    In a heap, holes between what is still held count as well, and which holes there are depends on what ran before.
    """
    if not _can_be_set():
        yield
        return
    trim()
    with _under(_DEFAULT):
        yield


def keeps_freed_memory(device: torch.device) -> bool | None:
    """Whether :func:`keeping_freed_memory` takes effect on this device; None where it is not the CPU."""
    return _can_be_set() if device.type == "cpu" else None


def trim() -> None:
    """Give what is free back to the system, where the C library is glibc."""
    library = _library()
    if library is not None and hasattr(library, "malloc_trim"):
        library.malloc_trim(0)


@contextmanager
def _under(settings: _Settings) -> Iterator[bool]:
    """These settings, and those before them again afterwards."""
    _in_force.append(settings)
    try:
        yield _set(settings)
    finally:
        _in_force.pop()
        _set(_in_force[-1])


@cache
def _can_be_set() -> bool:
    """Found out by setting what is in force anyway."""
    return _set(_in_force[-1])


def _set(settings: _Settings) -> bool:
    """Whether all of them took."""
    library = _library()
    if library is None or not hasattr(library, "mallopt"):
        return False
    values = (
        (M_MMAP_THRESHOLD, settings.mmap_threshold),
        (M_MMAP_MAX, settings.mmap_max),
        (M_TRIM_THRESHOLD, settings.trim_threshold),
    )
    answers = [library.mallopt(name, value) for name, value in values]
    return all(answer == TOOK for answer in answers)


def _library() -> ctypes.CDLL | None:
    """The C library where it is glibc; others have no such settings."""
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "gnu_get_libc_version") else None
