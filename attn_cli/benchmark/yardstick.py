"""A fixed work that says how fast the machine is just now."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from attn_cli.benchmark.clock import Clock
from attn_cli.benchmark.sampling import warm_up

SIDE = 512
HEADS, LENGTH, FEATURES = 4, 256, 64
COPIED = 2**20
SEED = 0


class Yardstick:
    """Three small works on the CPU, which take the same on the same machine at the same speed.

    They stand for what attention is made of: a float32 product of two matrices (512, 512), the textbook's
    softmax(QKᵀ/√D)·V of (1, 4, 256, 64), and a copy of 2²⁰ floats. Cores change their frequency and neighbours come
    and go, from minute to minute more than within a run; what that does to a backend it does, about, to these. A run
    of them takes no memory, so that it can neither fail for want of it nor wait for it.

    Args:
        clock: times them, as it times the backends.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._works = (_product(), _attention(), _copy())

    def warm_up(self) -> None:
        """Run each until its times settle."""
        for work in self._works:
            warm_up(work, self._clock)

    def measure(self) -> float:
        """Milliseconds: the geometric mean of one run of each."""
        times = [self._clock.measure(work) for work in self._works]
        return math.prod(times) ** (1 / len(times))


def _product() -> Callable[[], object]:
    a, b = _drawn(SIDE, SIDE), _drawn(SIDE, SIDE)
    out = torch.empty_like(a)
    return lambda: torch.mm(a, b, out=out)


def _attention() -> Callable[[], object]:
    q, k, v = (_drawn(1, HEADS, LENGTH, FEATURES) for _ in range(3))
    scores, weights, out = _drawn(1, HEADS, LENGTH, LENGTH), _drawn(1, HEADS, LENGTH, LENGTH), q.clone()

    def run() -> None:
        torch.matmul(q, k.mT, out=scores).div_(math.sqrt(FEATURES))  # (1, H, S, S)
        torch.softmax(scores, dim=-1, out=weights)
        torch.matmul(weights, v, out=out)  # (1, H, S, D)

    return run


def _copy() -> Callable[[], object]:
    source = _drawn(COPIED)
    target = source.clone()
    return lambda: target.copy_(source)


def _drawn(*shape: int) -> torch.Tensor:
    """The same numbers each time, and none taken from the generator that others use."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(SEED), dtype=torch.float32)
