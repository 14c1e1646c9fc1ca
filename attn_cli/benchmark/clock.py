"""Clocks that time one run on one device."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

import torch

from attn_cli.benchmark.timing import stopwatch

Run = Callable[[], object]
FLUSHED_CACHES = 2  # times the L2 cache: a buffer of just its size may leave some lines of it in place


class Clock(Protocol):
    """Times a run; a test may wind its own."""

    @property
    def flushed_bytes(self) -> int:
        """Bytes written before each run to empty the device's cache; 0 where it is left as it is."""

    def measure(self, run: Run) -> float:
        """Milliseconds of one run, all its work on the device included."""


class WallClock:
    """The processor's clock, for the CPU and MPS; the device is waited for before and after the run.

    Args:
        device: what the run computes on.
    """

    flushed_bytes = 0

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def measure(self, run: Run) -> float:
        """Milliseconds of one run."""
        return stopwatch(run, self._device) * 1e3


class CudaClock:
    """CUDA events around the run, each run on an L2 cache that holds none of its inputs.

    Args:
        device: a CUDA device.

    Attributes:
        flushed_bytes: size of the buffer that is written before each run: twice the device's L2 cache.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.flushed_bytes = FLUSHED_CACHES * int(torch.cuda.get_device_properties(device).L2_cache_size)
        self._event = partial(torch.cuda.Event, enable_timing=True)
        self._buffer = torch.empty(self.flushed_bytes, dtype=torch.uint8, device=device)

    def measure(self, run: Run) -> float:
        """Milliseconds of one run between two events on the current stream."""
        with torch.cuda.device(self._device):
            start, end = self._event(), self._event()
            self._buffer.zero_()
            start.record()
            run()
            end.record()
            end.synchronize()
        return float(start.elapsed_time(end))


def clock_for(device: torch.device) -> Clock:
    """The clock that fits ``device``."""
    return CudaClock(device) if device.type == "cuda" else WallClock(device)
