"""How samples are taken: warm-up until stable, then all contenders in turn, bounded in time and number."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from attn_cli.benchmark.clock import Clock, Run
from attn_cli.inputs.collecting import nothing_collected

Tick = Callable[[str, float], object]
STABLE_RUNS = 3
STABLE_WITHIN = 0.05
PATIENCE = 3  # times the most seconds, where the fewest samples are not yet there


@dataclass(frozen=True)
class Bounds:
    """When a contender has been run often enough; its seconds are those that the clock gave, nothing else.

    Attributes:
        min_seconds, min_samples: both must be reached …
        max_seconds, max_samples: … unless one of these is.
        fewest: samples for which it is given up to three times the most seconds; with fewer nothing can be compared.
    """

    min_seconds: float
    max_seconds: float
    min_samples: int
    max_samples: int
    fewest: int = 0

    def share(self, count: int, seconds: float) -> float:
        """How much of the way is gone, from 0 to 1, where it is enough."""
        needed = min(_part(count, self.min_samples), _part(seconds, self.min_seconds))
        max_seconds = self.max_seconds if count >= self.fewest else PATIENCE * self.max_seconds
        most = max(_part(count, self.max_samples), _part(seconds, max_seconds))
        return max(needed, most)


SAMPLING = Bounds(min_seconds=0.5, max_seconds=2.0, min_samples=20, max_samples=200, fewest=5)
WARM_UP = Bounds(min_seconds=0.02, max_seconds=0.3, min_samples=STABLE_RUNS, max_samples=30)


@dataclass(frozen=True)
class Sampled:
    """What :func:`interleave` measured.

    Attributes:
        milliseconds: of each contender, in the order they were taken; empty where not one run ended.
        failures: what a contender raised; it was not run again, and what it measured before is kept.
        was_interrupted: True where the user stopped it before all had enough.
        yardsticks: milliseconds that the yardstick took, the median over the rounds in which a contender was timed;
            nothing for one that was not, or without a yardstick.
    """

    milliseconds: dict[str, tuple[float, ...]]
    failures: dict[str, Exception]
    was_interrupted: bool
    yardsticks: dict[str, float]


def warm_up(run: Run, clock: Clock, bounds: Bounds = WARM_UP) -> float:
    """Run until the last three runs lie within 5 % of each other, or a bound is reached.

    The first run may compile: its time counts for no bound but the number of runs.

    Returns:
        Milliseconds of the first run. What the run raises goes through.
    """
    with nothing_collected():  # as timeit does
        samples = [clock.measure(run)]
        while not _is_warm(samples, bounds):
            samples.append(clock.measure(run))
    return samples[0]


def interleave(
    runs: Mapping[str, Run],
    clock: Clock,
    bounds: Bounds,
    tick: Tick | None = None,
    yardstick: Callable[[], float] | None = None,
) -> Sampled:
    """Time all contenders in turn, A B C, then B C A, so that a disturbance strikes all alike.

    Each stops when it has its samples and seconds. One that raises is not run again, and leaves the others running.
    Ctrl-C ends it; what was measured is returned.

    Args:
        runs: the contenders by name.
        clock: times each run.
        bounds: of each contender.
        tick: told after each run which contender ran, and what share of all the sampling is done, 0 to 1.
        yardstick: gives the milliseconds of a fixed work; asked once before each round, and counted for nobody.
    """
    samples: dict[str, list[float]] = {name: [] for name in runs}
    laps: list[float] = []
    failures: dict[str, Exception] = {}
    shares = dict.fromkeys(runs, 0.0)
    was_interrupted = False
    try:
        with nothing_collected():
            for names in _rounds(list(runs), shares):
                if yardstick is not None:
                    laps.append(yardstick())
                for name in names:
                    shares[name] = _run_once(runs[name], clock, bounds, samples[name], failures, name)
                    if tick is not None:
                        tick(name, sum(shares.values()) / len(shares))
    except KeyboardInterrupt:
        was_interrupted = True
    taken = {name: tuple(times) for name, times in samples.items()}
    # A contender takes part in every round from the first on until it is done.
    medians = {name: median(laps[: len(times)]) for name, times in taken.items() if laps and times}
    return Sampled(taken, failures, was_interrupted, medians)


def _rounds(names: Sequence[str], shares: Mapping[str, float]) -> Iterator[list[str]]:
    """Who runs in each round, in their order: begun by the next one each time, without those that are done."""
    begins = 0
    while any(shares[name] < 1 for name in names):
        yield [name for name in (*names[begins:], *names[:begins]) if shares[name] < 1]
        begins = (begins + 1) % len(names)


def _run_once(
    run: Run, clock: Clock, bounds: Bounds, samples: list[float], failures: dict[str, Exception], name: str
) -> float:
    """Add one sample, or the failure; the contender's share of the way that is gone."""
    try:
        samples.append(clock.measure(run))
    except Exception as error:  # whatever one backend raises, the others go on
        failures[name] = _without_frames(error)
        return 1.0
    return bounds.share(len(samples), sum(samples) / 1e3)


def _without_frames(error: Exception) -> Exception:
    """The error alone: the frames it went through, and its causes', would hold their tensors as long as it is kept."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


def _is_warm(samples: Sequence[float], bounds: Bounds) -> bool:
    seconds = sum(samples[1:]) / 1e3
    if len(samples) >= bounds.max_samples or seconds >= bounds.max_seconds:
        return True
    last = samples[-STABLE_RUNS:]
    is_stable = len(last) == STABLE_RUNS and max(last) <= (1 + STABLE_WITHIN) * min(last)
    return is_stable and bounds.share(len(samples), seconds) >= 1


def _part(done: float, whole: float) -> float:
    return min(1.0, done / whole) if whole > 0 else 1.0
