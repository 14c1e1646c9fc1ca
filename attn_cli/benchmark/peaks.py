"""What the device reaches at best: a large matrix product and a large copy."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from attn_cli.benchmark.clock import Clock
from attn_cli.benchmark.inputs import DTYPES
from attn_cli.benchmark.memory import available_bytes
from attn_cli.benchmark.types import Peaks

LARGEST_SIDE = {"cuda": 8192, "mps": 4096, "cpu": 2048}
SMALLEST_SIDE = 256
COPY_BYTES = {"cuda": 2**30, "mps": 2**28, "cpu": 2**28}
BUDGET_MS = 600.0  # of a dtype
ENOUGH_MS = 150.0  # of one size
LONG_MS = 60.0
MOST_RUNS = 20
LEAST_RUNS = 3  # after the first, which may set something up
LONGEST_MS = 2000.0


def measure(device: torch.device, dtypes: Sequence[str], clock: Clock) -> Peaks:
    """Measure the peaks of ``device``: the best of several runs, so that they are what it can reach.

    Args:
        device: what is measured.
        dtypes: of the matrix products; one that the device cannot multiply is left out.
        clock: takes the time.
    """
    flops = {name: _flops_per_s(device, DTYPES[name], clock) for name in dict.fromkeys(dtypes)}
    return Peaks({name: rate for name, rate in flops.items() if rate is not None}, _bytes_per_s(device, clock))


def _flops_per_s(device: torch.device, dtype: torch.dtype, clock: Clock) -> float | None:
    """The best rate of square products, each of twice the side of the one before until one takes long enough."""
    best, side, spent = 0.0, SMALLEST_SIDE, 0.0
    while side <= LARGEST_SIDE[device.type] and spent < BUDGET_MS:
        try:
            a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
            out = torch.empty_like(a)
            ms, took = _best_ms(lambda a=a, b=b, out=out: torch.mm(a, b, out=out), clock)  # type: ignore[misc]
        except (RuntimeError, TypeError, MemoryError):
            break
        best, spent = max(best, _rate(2.0 * side**3, ms)), spent + took
        if ms > LONG_MS:
            break
        side *= 2
    return best or None


def _bytes_per_s(device: torch.device, clock: Clock) -> float | None:
    """The rate of a copy, its read and its written bytes counted."""
    size = COPY_BYTES[device.type]
    there = available_bytes(device)
    while there is not None and size > 2**20 and 4 * size > there:
        size //= 2
    try:
        source = torch.ones(size, dtype=torch.uint8, device=device)
        target = source.clone()  # written once, so that no page of it is still to be found
        ms, _ = _best_ms(lambda: target.copy_(source), clock)
    except (RuntimeError, MemoryError):
        return None
    return _rate(2.0 * size, ms) or None


def _best_ms(run: Callable[[], object], clock: Clock) -> tuple[float, float]:
    """The shortest of several runs after a first one, and what all took together, milliseconds."""
    best = spent = clock.measure(run)
    for number in range(MOST_RUNS):
        if spent > ENOUGH_MS and (number >= LEAST_RUNS or spent > LONGEST_MS):
            break
        ms = clock.measure(run)
        best, spent = min(best, ms), spent + ms
    return best, spent


def _rate(amount: float, ms: float) -> float:
    return amount / (ms / 1e3) if ms > 0 else 0.0
