"""What makes the figures doubtful, and what to do about it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

from attn_cli.benchmark.statistics import FEWEST_SAMPLES
from attn_cli.benchmark.types import BenchCase, BenchResult, Warned

NOISY = 0.10
SLOW_FIRST_TIMES = 10
SLOW_FIRST_MS = 500.0
DRIFT = 1.10
ENOUGH_FOR_DRIFT = 9


def doubts_of(results: Sequence[BenchResult]) -> tuple[Warned, ...]:
    """At most one warning of each kind, each with the worst case as its example."""
    found = (_noise(results), _few(results), _slow_first(results), _drift(results))
    return tuple(warned for warned in found if warned is not None)


def _noise(results: Sequence[BenchResult]) -> Warned | None:
    timed = [result for result in results if result.ms is not None and len(result.ms.samples) > 1]
    noisy = [result for result in timed if _noise_of(result) > NOISY]
    if not noisy:
        return None
    worst = max(noisy, key=_noise_of)
    return Warned(
        f"{len(noisy)} of {len(timed)} times scatter by more than {NOISY:.0%} (IQR over median), {_named(worst)} by "
        f"{_noise_of(worst):.0%}",
        "Close other programs and run again, or raise --min-time.",
    )


def _few(results: Sequence[BenchResult]) -> Warned | None:
    timed = [result for result in results if result.ms is not None]
    few = [result for result in timed if _count(result) < FEWEST_SAMPLES]
    if not few:
        return None
    fewest = min(few, key=_count)
    return Warned(
        f"{len(few)} of {len(timed)} times come from fewer than {FEWEST_SAMPLES} runs, {_named(fewest)} from "
        f"{_count(fewest)}",
        "Raise --min-time, or choose shorter lengths with --seq.",
    )


def _slow_first(results: Sequence[BenchResult]) -> Warned | None:
    slow = [result for result in results if _is_slow_first(result)]
    if not slow:
        return None
    slowest = max(slow, key=_first_ms)
    return Warned(
        f"the first run of {_named(slowest)} took {_first_ms(slowest) / 1e3:.1f} s, "
        f"{_first_ms(slowest) / _median(slowest):,.0f} times a later one; it is in no median",
        "A program that calls it once or seldom pays that too: warm it up first, or take another backend.",
    )


def _drift(results: Sequence[BenchResult]) -> Warned | None:
    """Backends run in turn, so a clock that falls slows all of a case: one alone proves nothing of the device."""
    worst: tuple[float, BenchCase] | None = None
    for case in dict.fromkeys(result.case for result in results):
        drifts = [_drift_of(result) for result in results if result.case == case]
        known = [drift for drift in drifts if drift is not None]
        if known and median(known) > DRIFT and (worst is None or median(known) > worst[0]):
            worst = median(known), case
    if worst is None:
        return None
    return Warned(
        f"times rose by {worst[0] - 1:.0%} from the first third of the runs to the last ({_lengths(worst[1])}), as "
        "they do where a hot device lowers its clock",
        "Let the device cool down, fix its clock, or end what else runs on it.",
    )


def _drift_of(result: BenchResult) -> float | None:
    """The median of the last third of the samples over that of the first; None for too few."""
    if result.ms is None or len(result.ms.samples) < ENOUGH_FOR_DRIFT:
        return None
    third = len(result.ms.samples) // 3
    first, last = median(result.ms.samples[:third]), median(result.ms.samples[-third:])
    return last / first if first > 0 else None


def _is_slow_first(result: BenchResult) -> bool:
    if not _first_ms(result) or not _median(result):
        return False
    return _first_ms(result) > max(SLOW_FIRST_TIMES * _median(result), _median(result) + SLOW_FIRST_MS)


def _noise_of(result: BenchResult) -> float:
    return result.ms.noise if result.ms is not None else 0.0


def _count(result: BenchResult) -> int:
    return len(result.ms.samples) if result.ms is not None else 0


def _median(result: BenchResult) -> float:
    return result.ms.median if result.ms is not None else math.inf


def _first_ms(result: BenchResult) -> float:
    return result.first_ms or 0.0


def _named(result: BenchResult) -> str:
    return f"{result.backend} ({_lengths(result.case)})"


def _lengths(case: BenchCase) -> str:
    return f"{case.queries} queries × {case.keys} keys, {case.dtype}"
