"""Wall-clock samples of one function on one device."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch

from attn_cli.attention.devices import synchronize

MOST_RUNS = 5
ENOUGH_SECONDS = 0.25


def time_runs(
    function: Callable[[], object], device: torch.device, runs: int | None = None, enough: float = ENOUGH_SECONDS
) -> tuple[float, ...]:
    """Milliseconds of each run of ``function``, its work on ``device`` included.

    Args:
        function: what to time; run it once before, so that no first-time cost is counted.
        device: waited for before and after each run.
        runs: how many; None takes up to five, and no further one once enough time is spent.
        enough: so many seconds.
    """
    samples: list[float] = []
    spent = 0.0
    while len(samples) < (runs or MOST_RUNS):
        seconds = stopwatch(function, device)
        samples.append(seconds * 1e3)
        spent += seconds
        if runs is None and spent >= enough:
            break
    return tuple(samples)


def stopwatch(function: Callable[[], object], device: torch.device) -> float:
    """Seconds that one run of ``function`` takes, its work on ``device`` included."""
    synchronize(device)
    start = time.perf_counter()
    function()
    synchronize(device)
    return time.perf_counter() - start


def median_and_iqr(samples: tuple[float, ...]) -> tuple[float, float | None]:
    """The median, and the distance between the quartiles; None for fewer than two samples."""
    if len(samples) < 2:
        return samples[0], None
    low, median, high = (float(quartile) for quartile in np.percentile(samples, (25, 50, 75)))
    return median, high - low
