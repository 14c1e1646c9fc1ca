"""What samples say: their median and spread, whether two runs differ, and how a value grows with the length."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from attn_cli.benchmark.timing import median_and_iqr
from attn_cli.benchmark.types import Summary, Verdict

CONFIDENCE = 0.99
RESAMPLES = 5_000  # in each of two orders
SEED = 0
MARGIN = 0.05
FEWEST_SAMPLES = 5  # with fewer on each side, two runs of the same lie wholly apart more often than once in 20
DRIFT = 0.65  # of the margin, left to what differs between two runs of the same and cannot be seen within one
BEYOND = 1.2  # times the margin asked for: nearer to it than that, drift alone may have led there
LEAST_MS = 1e-9  # stands for 0, which has no logarithm; no clock is so fine


def summarize(samples: Sequence[float]) -> Summary:
    """The median, interquartile range and minimum of ``samples``, milliseconds in the order they were taken.

    Raises:
        ValueError: there are no samples.
    """
    if not samples:
        raise ValueError("no samples to summarize")
    median, iqr = median_and_iqr(tuple(samples))
    return Summary(tuple(samples), median, iqr or 0.0, min(samples))


def ratio_interval(old: Sequence[float], new: Sequence[float]) -> tuple[float, float, float]:
    """The ratio of the medians, new over old, and its 99 % bootstrap interval.

    Percentile bootstrap (Efron 1979): both runs are drawn again with replacement 10 000 times, from a fixed seed, so
    that the same samples give the same interval. Half of the times the old run is drawn first, half of them the new
    one from the same seed again, so that swapping the runs gives exactly the inverse.

    Args:
        old: at least one sample.
        new: at least one sample, in the same unit.

    Returns:
        ratio, low, high.
    """
    before, after = _ordered(old), _ordered(new)
    drawn = np.concatenate((_log_ratios(before, after), -_log_ratios(after, before)))
    tail = (1 - CONFIDENCE) / 2
    low, high = (math.exp(bound) for bound in np.quantile(drawn, (tail, 1 - tail)))
    return float(np.median(after) / np.median(before)), low, high


def verdict(
    old: Sequence[float], new: Sequence[float], margin: float = MARGIN
) -> tuple[Verdict, float, float, float, float]:
    """Whether ``new`` is FASTER or SLOWER than ``old``, the SAME, or whether the samples leave it UNCLEAR.

    SAME is said where the ratio lies within the margin of :func:`margin_of`. SLOWER and FASTER where it lies beyond
    that and beyond 1.2 times the least difference that counts, and where the whole interval of :func:`ratio_interval`
    lies on that side of 1. Everything else is UNCLEAR, and so are fewer than five samples on a side.

    By simulation (lognormal samples, 3 % of them half as long again, 5 to 200 of an IQR of 1 to 20 %, each run's
    speed drifting by 1.5 %) two runs of the same are SAME in 95 % of pairs or more and SLOWER in 2 % at most; with
    an IQR up to 6 % and 20 samples or more, one slower by 10 % and no drift is SLOWER in 95 % or more.

    Args:
        old: milliseconds of the earlier run.
        new: milliseconds of the later one.
        margin: the least difference that counts, 0.05 for 5 %; noise may widen it.

    Returns:
        The verdict, the ratio of the medians, low, high, and the margin that was used.
    """
    ratio, low, high = ratio_interval(old, new)
    used = margin_of(old, new, (low, high), margin)
    if min(len(old), len(new)) < FEWEST_SAMPLES:
        return "UNCLEAR", ratio, low, high, used
    return _judge((ratio, low, high), used, max(used, BEYOND * margin)), ratio, low, high, used


def margin_of(
    old: Sequence[float], new: Sequence[float], interval: tuple[float, float], margin: float = MARGIN
) -> float:
    """How far from 1 the ratio of two runs of the same may well lie; the largest of three.

    - the least difference that counts;
    - half of both runs' interquartile ranges, each over its median, joined as the root of their squares: what
      disturbs a machine within a run disturbs it between runs as well, however many samples there are;
    - the reach of the interval, which is what few samples leave open, joined in the same way with 0.65 of the least
      difference for the drift between runs. The reach is half of the interval's width.

    Args:
        old: milliseconds of the earlier run.
        new: milliseconds of the later one.
        interval: low and high of their :func:`ratio_interval`.
        margin: the least difference that counts.
    """
    low, high = interval
    reach = math.log(high / low) / 2
    noise = math.hypot(summarize(old).noise, summarize(new).noise) / 2
    return max(margin, noise, math.hypot(DRIFT * margin, reach))


def exponent(lengths: Sequence[float], values: Sequence[float | None]) -> float | None:
    """The least-squares slope of log value against log length: ``value ~ length ** exponent``.

    Lengths whose value is None, zero or not finite are left out; None for fewer than two different ones.
    """
    pairs = zip(lengths, values, strict=True)
    points = [(math.log(n), math.log(v)) for n, v in pairs if v is not None and v > 0 and math.isfinite(v)]
    if len({x for x, _ in points}) < 2:
        return None
    x, y = np.array(points).T
    x, y = x - x.mean(), y - y.mean()
    return float(x @ y / (x @ x))


def _judge(interval: tuple[float, float, float], margin: float, beyond: float) -> Verdict:
    ratio, low, high = interval
    if ratio > 1 + beyond and low > 1:
        return "SLOWER"
    if ratio < 1 / (1 + beyond) and high < 1:
        return "FASTER"
    return "SAME" if 1 / (1 + margin) <= ratio <= 1 + margin else "UNCLEAR"


def _ordered(samples: Sequence[float]) -> NDArray[np.float64]:
    if not len(samples):
        raise ValueError("no samples to compare")
    return np.sort(np.maximum(np.asarray(samples, dtype=np.float64), LEAST_MS))


def _log_ratios(old: NDArray[np.float64], new: NDArray[np.float64]) -> NDArray[np.float64]:
    old_medians, new_medians = (
        _median_at(places, ordered)
        for places, ordered in zip(_middles_of_both(len(old), len(new)), (old, new), strict=True)
    )
    logs: NDArray[np.float64] = np.log(new_medians / old_medians)
    return logs


@lru_cache(maxsize=8)
def _middles_of_both(first: int, second: int) -> tuple[tuple[NDArray[np.float64], ...], ...]:
    """The middles of draws of the first size and of the second, from one seed; numbers of runs repeat, so do these."""
    generator = np.random.default_rng(SEED)
    return _middles(first, generator), _middles(second, generator)


def _middles(n: int, generator: np.random.Generator) -> tuple[NDArray[np.float64], ...]:
    """Where the middle of RESAMPLES draws of n with replacement lies, without making the draws; two for an even n.

    Drawing n of n sorted samples is drawing n uniform numbers u and taking sample ``floor(n·u)`` of each, so the middle
    one of the draw is the sample at the middle order statistic of n uniforms, whose distribution is a Beta. An even n
    needs the next order statistic too: the least of the uniforms that are left above the first.
    """
    middle = (n + 1) // 2
    lower = generator.beta(middle, n - middle + 1, RESAMPLES)
    if n % 2:
        return (lower,)
    return lower, lower + (1 - lower) * generator.beta(1, n - middle, RESAMPLES)


def _median_at(places: tuple[NDArray[np.float64], ...], ordered: NDArray[np.float64]) -> NDArray[np.float64]:
    """The medians of draws of sorted samples whose middles lie at these places."""
    n = len(ordered)
    drawn = [ordered[np.minimum((n * place).astype(np.intp), n - 1)] for place in places]
    return drawn[0] if len(drawn) == 1 else (drawn[0] + drawn[1]) / 2
