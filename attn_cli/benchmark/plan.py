"""What a benchmark is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import torch

from attn_cli.benchmark.inputs import DTYPES
from attn_cli.benchmark.sampling import SAMPLING, Bounds
from attn_cli.benchmark.types import BenchCase, Mode
from attn_cli.errors import UsageError

MOST_TIMES_MIN = 4  # so many times the least seconds are the most


@dataclass(frozen=True)
class BenchPlan:
    """One ``attn bench``.

    Attributes:
        cases: run one after the other; shorter before longer ones lets memory be foreseen.
        backends: names of contenders, in the order in which they are reported.
        device: that all of it runs on.
        min_time: seconds of samples of each contender on each case, at least.
    """

    cases: tuple[BenchCase, ...]
    backends: tuple[str, ...]
    device: torch.device
    min_time: float = SAMPLING.min_seconds

    @property
    def bounds(self) -> Bounds:
        """How often each contender is run."""
        most = max(SAMPLING.max_samples, round(SAMPLING.max_samples * self.min_time / SAMPLING.min_seconds))
        return Bounds(self.min_time, MOST_TIMES_MIN * self.min_time, SAMPLING.min_samples, most)


def bench_cases(
    *,
    batch: Sequence[int],
    heads: Sequence[int],
    kv_heads: Sequence[int] | None,
    head_dim: Sequence[int],
    keys: Sequence[int],
    queries: Sequence[int] | None,
    dtypes: Sequence[str],
    causal: bool = False,
    mode: Mode = "forward",
) -> tuple[BenchCase, ...]:
    """Every combination of these lists, the lengths changing first, without repetitions.

    Args:
        batch: B.
        heads: Hq.
        kv_heads: Hkv; None is as many as there are query heads.
        head_dim: D.
        keys: Sk.
        queries: Sq; None is as many as there are keys.
        dtypes: names such as ``"bfloat16"``.
        causal: whether causal order hides keys.
        mode: what is timed.

    Raises:
        UsageError: where a list is empty, a size is not positive, heads cannot be shared, or a dtype is none.
    """
    lists = {"batch": batch, "heads": heads, "kv-heads": kv_heads, "head-dim": head_dim, "seq": keys}
    for option, sizes in {**lists, "queries": queries}.items():
        _check_sizes(option, sizes)
    for name in dtypes:
        if name not in DTYPES:
            raise UsageError(f"--dtype {name}: no such dtype; expected {', '.join(DTYPES)}")
    if not dtypes:
        raise UsageError("--dtype: nothing given; expected one at least")
    cases: dict[BenchCase, None] = {}
    for dtype, b, hq, d, hkv, sq, sk in product(dtypes, batch, heads, head_dim, kv_heads or [0], queries or [0], keys):
        if hkv and hq % hkv:
            raise UsageError(f"--kv-heads {hkv}: found --heads {hq}; expected a multiple of {hkv}")
        cases[BenchCase(b, hq, hkv or hq, sq or sk, sk, d, dtype, causal, mode)] = None
    return tuple(cases)


def _check_sizes(option: str, sizes: Sequence[int] | None) -> None:
    if sizes is None:
        return
    if not sizes:
        raise UsageError(f"--{option}: nothing given; expected one number at least")
    wrong = [size for size in sizes if size < 1]
    if wrong:
        raise UsageError(f"--{option} {wrong[0]}: expected a number from 1 on")
