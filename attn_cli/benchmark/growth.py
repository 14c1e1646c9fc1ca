"""How time and memory grow with the length, and what a longer one would need."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from attn_cli.benchmark.statistics import exponent
from attn_cli.benchmark.types import BenchCase, BenchResult, Growth


def growth_of(results: Sequence[BenchResult]) -> tuple[Growth, ...]:
    """The growth of each backend that was timed at two lengths or more, all else the same, in the results' order.

    The length is that of the keys. Where every case of the same settings has as many queries as keys, both grow
    together; else each number of queries is a series of its own.
    """
    timed = [result for result in results if result.ms is not None]
    apart = {_settings(result.case) for result in timed if result.case.queries != result.case.keys}
    series: dict[tuple[str, BenchCase, int | None], dict[int, BenchResult]] = {}
    for result in timed:
        settings = _settings(result.case)
        queries = result.case.queries if settings in apart else None
        series.setdefault((result.backend, settings, queries), {}).setdefault(result.case.keys, result)
    grown = [(by_length, queries is None) for (_, _, queries), by_length in series.items()]
    return tuple(_grown(by_length, together) for by_length, together in grown if len(by_length) > 1)


def predicted_bytes(
    shorter: Sequence[BenchResult], case: BenchCase, least: Callable[[BenchCase], int] | None = None
) -> int | None:
    """The peak memory that ``case`` would need, from what one backend was measured to need at shorter lengths.

    Memory is taken as ``a·(Sq + Sk) + b·Sq·Sk`` with neither negative, through the two longest that were measured. With
    one alone it is taken to grow as what the backend is known to need, or with Sq + Sk where that is more.

    Args:
        shorter: results of one backend; those of other settings and of longer lengths are left out.
        case: what is about to be run.
        least: bytes that a case is known to need; None where nothing is known.

    Returns:
        Bytes, or None where nothing shorter was measured.
    """
    points = sorted({_measured(result) for result in shorter if _is_shorter(result, case)})
    if not points:
        return None
    last_linear, last_area, last_bytes = points[-1]
    linear, area = _linear(case), _area(case)
    by_line, by_area = last_bytes * linear / last_linear, last_bytes * area / last_area
    if len(points) == 1:
        only = next(one.case for one in shorter if _is_shorter(one, case) and _measured(one) == points[0])
        known = 0.0 if least is None else last_bytes * least(case) / max(1, least(only))
        return math.ceil(max(by_line, known))
    return math.ceil(_through(points[-2], points[-1], linear, area, by_line, by_area))


def _through(
    first: tuple[int, int, int], second: tuple[int, int, int], linear: int, area: int, by_line: float, by_area: float
) -> float:
    """Cramer's rule; where one coefficient is negative, the other one's term alone through the longer length."""
    (l1, a1, m1), (l2, a2, m2) = first, second
    determinant = l1 * a2 - l2 * a1
    if determinant == 0:
        return max(by_line, by_area)
    a, b = (m1 * a2 - m2 * a1) / determinant, (l1 * m2 - l2 * m1) / determinant
    if b < 0:
        return by_line
    return by_area if a < 0 else a * linear + b * area


def _grown(by_length: dict[int, BenchResult], queries_grow: bool) -> Growth:
    lengths = tuple(sorted(by_length))
    results = [by_length[length] for length in lengths]
    median_ms = tuple(None if result.ms is None else result.ms.median for result in results)
    memory = tuple(result.peak_memory_bytes for result in results)
    times, bytes_ = exponent(lengths, median_ms), exponent(lengths, memory)
    return Growth(results[-1].backend, results[-1].case, lengths, median_ms, memory, times, bytes_, queries_grow)


def _is_shorter(result: BenchResult, case: BenchCase) -> bool:
    other = result.case
    if not result.peak_memory_bytes or _settings(other) != _settings(case):
        return False
    return other.queries <= case.queries and other.keys <= case.keys and other != case


def _measured(result: BenchResult) -> tuple[int, int, int]:
    return _linear(result.case), _area(result.case), result.peak_memory_bytes or 0


def _settings(case: BenchCase) -> BenchCase:
    """The case without its lengths."""
    return replace(case, queries=0, keys=0)


def _linear(case: BenchCase) -> int:
    return case.queries + case.keys


def _area(case: BenchCase) -> int:
    return case.queries * case.keys
