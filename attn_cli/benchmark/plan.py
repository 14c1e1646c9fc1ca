"""What a benchmark is asked for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import torch

from attn_cli.benchmark.inputs import DTYPES
from attn_cli.benchmark.sampling import SAMPLING, Bounds
from attn_cli.benchmark.types import BenchCase, Mode, Warned
from attn_cli.errors import UsageError

MOST_CASES = 10_000  # at half a second for each backend they take hours


@dataclass(frozen=True)
class BenchPlan:
    """One ``attn bench``.

    Attributes:
        cases: run one after the other; shorter before longer ones lets memory be foreseen.
        backends: names of contenders, in the order in which they are reported.
        device: that all of it runs on.
        min_time: seconds of samples of each contender on each case, at least.
        warnings: doubts about what was asked for.
    """

    cases: tuple[BenchCase, ...]
    backends: tuple[str, ...]
    device: torch.device
    min_time: float = SAMPLING.min_seconds
    warnings: tuple[Warned, ...] = ()

    @property
    def bounds(self) -> Bounds:
        """How often each contender is run."""
        times = self.min_time / SAMPLING.min_seconds
        most = max(SAMPLING.max_samples, round(SAMPLING.max_samples * times))
        return replace(SAMPLING, min_seconds=self.min_time, max_seconds=times * SAMPLING.max_seconds, max_samples=most)


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

    Those whose key/value heads cannot be shared by their heads are left out, see :func:`unshared`.

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
        UsageError: where a list is empty, a size is not positive, a dtype is none, there are too many combinations, or
            heads can nowhere be shared.
    """
    lists = {"batch": batch, "heads": heads, "kv-heads": kv_heads, "head-dim": head_dim, "seq": keys}
    for option, sizes in {**lists, "queries": queries}.items():
        _check_sizes(option, sizes)
    for name in dtypes:
        if name not in DTYPES:
            raise UsageError(f"--dtype {name}: no such dtype; expected {', '.join(DTYPES)}")
    if not dtypes:
        raise UsageError("--dtype: nothing given; expected one at least")
    asked = (dtypes, batch, heads, head_dim, kv_heads or (0,), queries or (0,), keys)
    _check_number(math.prod(len(values) for values in asked))
    cases: dict[BenchCase, None] = {}
    for dtype, b, hq, d, hkv, sq, sk in product(*asked):
        if not hkv or hq % hkv == 0:
            cases[BenchCase(b, hq, hkv or hq, sq or sk, sk, d, dtype, causal, mode)] = None
    if not cases:
        hq, hkv = _unshared(heads, kv_heads)[0]
        raise UsageError(f"--kv-heads {hkv}: found --heads {hq}; expected a multiple of {hkv}")
    return tuple(cases)


def unshared(heads: Sequence[int], kv_heads: Sequence[int] | None) -> tuple[Warned, ...]:
    """A warning where :func:`bench_cases` leaves out combinations of these lists."""
    left_out = _unshared(heads, kv_heads)
    if not left_out:
        return ()
    named = ", ".join(f"{hq} heads with {hkv} key/value heads" for hq, hkv in left_out)
    message = f"left out, since heads share key/value heads in groups of one size: {named}"
    return (Warned(message, "Give --kv-heads that divide --heads, in a run of their own where that is needed."),)


def _unshared(heads: Sequence[int], kv_heads: Sequence[int] | None) -> list[tuple[int, int]]:
    pairs = dict.fromkeys(product(heads, kv_heads or ()))
    return [(hq, hkv) for hq, hkv in pairs if hq % hkv]


def _check_number(cases: int) -> None:
    if cases > MOST_CASES:
        raise UsageError(f"attn bench: found {cases} combinations; expected at most {MOST_CASES}", "give shorter lists")


def _check_sizes(option: str, sizes: Sequence[int] | None) -> None:
    if sizes is None:
        return
    if not sizes:
        raise UsageError(f"--{option}: nothing given; expected one number at least")
    wrong = [size for size in sizes if size < 1]
    if wrong:
        raise UsageError(f"--{option} {wrong[0]}: expected a number from 1 on")
