"""Warm-up and turns, on a clock that runs only where a run says so."""

import gc
import weakref

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attn_cli.benchmark.sampling import Bounds, interleave, warm_up


class FakeClock:
    """A run returns the milliseconds that it took."""

    flushed_bytes = 0

    def measure(self, run):
        return run()


CLOCK = FakeClock()
FIVE = Bounds(min_seconds=0, max_seconds=60, min_samples=5, max_samples=100)


def noted(log, name, ms=1.0):
    def run():
        log.append(name)
        return ms

    return run


def scripted(*times):
    left = iter(times)
    return lambda: next(left)


def failing(log, name, at, error):
    def run():
        log.append(name)
        if log.count(name) == at:
            raise error
        return 1.0

    return run


def test_contenders_take_turns_and_the_first_place_goes_round():
    log = []
    interleave({name: noted(log, name) for name in "ABC"}, CLOCK, FIVE)
    assert "".join(log) == "ABC" + "BCA" + "CAB" + "ABC" + "BCA"


def test_samples_are_kept_in_the_order_they_were_taken():
    sampled = interleave({"A": scripted(5, 1, 3, 2, 4), "B": scripted(*range(9))}, CLOCK, FIVE)
    assert sampled.milliseconds == {"A": (5, 1, 3, 2, 4), "B": (0, 1, 2, 3, 4)}
    assert not sampled.failures
    assert not sampled.was_interrupted


def test_each_stops_by_its_own_bounds():
    bounds = Bounds(min_seconds=1, max_seconds=3, min_samples=5, max_samples=50)
    times = {"quick": 1.0, "middling": 100.0, "slow": 500.0, "very slow": 2000.0}
    runs = {name: noted([], name, ms) for name, ms in times.items()}
    counts = {name: len(taken) for name, taken in interleave(runs, CLOCK, bounds).milliseconds.items()}
    assert counts == {"quick": 50, "middling": 10, "slow": 5, "very slow": 2}


def test_one_that_raises_leaves_the_others_running():
    log, error = [], RuntimeError("out of memory")
    runs = {"A": noted(log, "A"), "B": failing(log, "B", 3, error), "C": failing(log, "C", 1, error)}
    sampled = interleave(runs, CLOCK, FIVE)
    assert sampled.milliseconds == {"A": (1,) * 5, "B": (1, 1), "C": ()}
    assert sampled.failures == {"B": error, "C": error}
    assert log.count("B") == 3
    assert log.count("C") == 1
    assert not sampled.was_interrupted


class Tensor:
    """Something that can be seen to be let go."""


def test_a_failure_holds_no_tensor():
    seen = []

    def run():
        tensor = Tensor()
        seen.append(weakref.ref(tensor))
        try:
            return tensor.missing
        except AttributeError as error:
            raise RuntimeError("no") from error

    failures = interleave({"A": run}, CLOCK, FIVE).failures
    assert str(failures["A"]) == "no"
    assert [ref() for ref in seen] == [None]


def test_an_interrupt_keeps_what_was_measured():
    log = []
    runs = {"A": noted(log, "A"), "B": failing(log, "B", 2, KeyboardInterrupt())}
    sampled = interleave(runs, CLOCK, FIVE)
    assert sampled.was_interrupted
    assert sampled.milliseconds == {"A": (1,), "B": (1,)}
    assert "".join(log) == "ABB"


def test_ticks_tell_who_ran_and_grow_to_the_whole():
    ticks = []
    runs = {"A": noted([], "A"), "B": failing([], "B", 2, ValueError())}
    interleave(runs, CLOCK, FIVE, lambda name, share: ticks.append((name, share)))
    assert [name for name, _ in ticks] == list("ABBAAAA")
    assert [share for _, share in ticks] == pytest.approx([0.1, 0.2, 0.6, 0.7, 0.8, 0.9, 1.0])


def test_the_yardstick_is_asked_once_before_each_round_and_counts_for_nobody():
    log, laps = [], iter((3.0, 1.0, 2.0, 9.0, 7.0))
    bounds = Bounds(min_seconds=0, max_seconds=0.009, min_samples=5, max_samples=5)

    def yardstick():
        log.append("|")
        return next(laps)

    runs = {"A": noted(log, "A"), "B": noted(log, "B", 4.0), "C": failing(log, "C", 1, ValueError())}
    sampled = interleave(runs, CLOCK, bounds, yardstick=yardstick)
    assert "".join(log) == "|ABC|BA|AB|A|A"
    assert sampled.milliseconds == {"A": (1,) * 5, "B": (4,) * 3, "C": ()}
    assert sampled.yardsticks == {"A": 3.0, "B": 2.0}  # of 3 1 2 9 7, and of 3 1 2


def test_without_a_yardstick_there_is_none():
    assert interleave({"A": noted([], "A")}, CLOCK, FIVE).yardsticks == {}


def test_the_fewest_samples_are_waited_for_up_to_three_times_the_most_seconds():
    bounds = Bounds(min_seconds=1, max_seconds=2, min_samples=20, max_samples=50, fewest=5)
    times = {"quick": 10.0, "slow": 300.0, "slower": 1000.0, "slowest": 2500.0}
    runs = {name: noted([], name, ms) for name, ms in times.items()}
    counts = {name: len(taken) for name, taken in interleave(runs, CLOCK, bounds).milliseconds.items()}
    assert counts == {"quick": 50, "slow": 7, "slower": 5, "slowest": 3}


def test_nobody_to_run_is_no_samples():
    assert interleave({}, CLOCK, FIVE).milliseconds == {}


@settings(deadline=None, max_examples=50)
@given(
    st.dictionaries(st.sampled_from("ABCDE"), st.floats(0.01, 5000), min_size=1),
    st.integers(1, 30),
    st.floats(0, 2),
    st.floats(0.1, 5),
)
def test_bounds_hold_for_every_contender(times, fewest, least, most):
    bounds = Bounds(least, most, fewest, 60)
    ticks = []
    runs = {name: noted([], name, ms) for name, ms in times.items()}
    sampled = interleave(runs, CLOCK, bounds, lambda _, share: ticks.append(share))
    for name, taken in sampled.milliseconds.items():
        seconds, before = sum(taken) / 1e3, sum(taken[:-1]) / 1e3
        assert 1 <= len(taken) <= 60
        assert before < most
        is_done = len(taken) >= fewest and seconds >= least
        assert is_done or len(taken) == 60 or seconds >= most
        assert len(taken) == 1 or before < least or len(taken) <= fewest, name
    assert ticks == sorted(ticks)
    assert ticks[-1] == pytest.approx(1)


def test_warm_up_ends_when_the_last_three_runs_agree():
    times = iter((900.0, 30.0, 20.0, 10.0, 10.2, 10.3, 99.0))
    assert warm_up(lambda: next(times), CLOCK, Bounds(0, 60, 3, 100)) == 900
    assert list(times) == [99.0]


def test_warm_up_of_what_never_settles_ends_at_a_bound():
    times = iter(range(1, 1000))
    warm_up(lambda: 2.0 ** next(times), CLOCK, Bounds(0, 1e9, 3, 7))
    assert next(times) == 8
    times = iter(range(1, 1000))
    warm_up(lambda: 400.0 * next(times), CLOCK, Bounds(0, 2, 3, 100))
    assert next(times) == 4  # 0.4 s of the first count for nothing: 0.8 and 1.2 are the two seconds


def test_warm_up_lasts_its_least_seconds_however_stable():
    log = []
    assert warm_up(noted(log, "A", 10.0), CLOCK, Bounds(0.1, 60, 3, 100)) == 10
    assert len(log) == 11


def test_warm_up_lets_the_failure_through():
    with pytest.raises(RuntimeError, match="no kernel"):
        warm_up(failing([], "A", 2, RuntimeError("no kernel")), CLOCK)


@pytest.mark.parametrize("was_collecting", [True, False])
def test_the_collector_rests_while_samples_are_taken(was_collecting):
    seen = []

    def run():
        seen.append(gc.isenabled())
        if len(seen) == 4:
            raise KeyboardInterrupt
        return 1.0

    (gc.enable if was_collecting else gc.disable)()
    try:
        warm_up(run, CLOCK, Bounds(0, 1, 3, 3))
        assert interleave({"A": run}, CLOCK, FIVE).was_interrupted
        assert gc.isenabled() == was_collecting
    finally:
        gc.enable()
    assert seen == [False] * 4
