"""What becomes of freed memory while a benchmark runs."""

import contextlib
import sys

import pytest
import torch

from attn_cli.benchmark import allocator
from attn_cli.benchmark.allocator import giving_back_freed_memory, keeping_freed_memory, keeps_freed_memory
from attn_cli.benchmark.memory import _status_bytes

CPU = torch.device("cpu")
MIB = 2**20
glibc = pytest.mark.skipif(sys.platform != "linux" or not keeps_freed_memory(CPU), reason="glibc alone can keep it")


class Library:
    """A C library that notes what it is told."""

    def __init__(self, answer=1):
        self.answer, self.told, self.trims = answer, {}, 0

    def mallopt(self, name, value):
        self.told[name] = value
        return self.answer

    def malloc_trim(self, _pad):
        self.trims += 1

    def gnu_get_libc_version(self):
        return b"2.36"


@pytest.fixture
def library(monkeypatch):
    def use(found):
        allocator._can_be_set.cache_clear()
        monkeypatch.setattr(allocator, "_library", lambda: found)
        return found

    yield use
    allocator._can_be_set.cache_clear()


def resident():
    return _status_bytes("VmRSS:")


def kept_of(size):
    """Bytes that stay resident after a tensor of this size is gone."""
    before = resident()
    torch.ones(size, dtype=torch.uint8)
    return resident() - before


@glibc
def test_a_large_tensor_that_is_freed_stays_resident_while_it_is_kept_and_not_before_or_after():
    size = 64 * MIB
    assert kept_of(size) < size / 8
    with keeping_freed_memory(CPU) as took:
        assert took is True
        before = resident()
        assert kept_of(size) > size / 2
        with giving_back_freed_memory():
            assert resident() - before < size / 8
        allocator.trim()
        assert resident() - before < size / 8
    assert kept_of(size) < size / 8


def test_the_defaults_come_back_whatever_happens(library):
    found = library(Library())
    with contextlib.suppress(KeyboardInterrupt), keeping_freed_memory(CPU):
        assert (found.told[allocator.M_MMAP_MAX], found.told[allocator.M_TRIM_THRESHOLD]) == (0, 2**31 - 1)
        with giving_back_freed_memory():
            assert found.told[allocator.M_MMAP_MAX] == 65_536
        assert found.told[allocator.M_MMAP_MAX] == 0
        raise KeyboardInterrupt
    assert (found.told[allocator.M_MMAP_MAX], found.told[allocator.M_TRIM_THRESHOLD]) == (65_536, 128 * 1024)


@pytest.mark.parametrize("found", [None, object(), Library(answer=0)])
def test_where_it_cannot_be_kept_nothing_happens_and_that_is_said(library, found):
    library(found)
    assert keeps_freed_memory(CPU) is False
    with keeping_freed_memory(CPU) as took, giving_back_freed_memory():
        assert took is False
    allocator.trim()


def test_another_device_is_left_alone(library):
    found = library(Library())
    with keeping_freed_memory(torch.device("cuda")) as took:
        assert (took, found.told) == (False, {})
    assert keeps_freed_memory(torch.device("cuda")) is None
