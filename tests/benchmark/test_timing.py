"""Timing on a clock that the test winds."""

import statistics

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from attn_cli.benchmark import timing
from attn_cli.benchmark.timing import median_and_iqr, time_runs

CPU = torch.device("cpu")


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still but for what is added to it."""
    now = [0.0]
    monkeypatch.setattr(timing.time, "perf_counter", lambda: now[0])

    def work(seconds):
        now[0] += seconds

    return work


def test_runs_are_milliseconds(clock):
    assert time_runs(lambda: clock(0.004), CPU, runs=3) == pytest.approx((4, 4, 4))


def test_quick_runs_are_repeated_and_slow_ones_are_not(clock):
    assert len(time_runs(lambda: clock(0.001), CPU)) == 5
    assert len(time_runs(lambda: clock(0.1), CPU)) == 3
    assert len(time_runs(lambda: clock(60), CPU)) == 1
    assert len(time_runs(lambda: clock(60), CPU, runs=2)) == 2


def test_a_smaller_budget_ends_sooner_but_for_the_first_run(clock):
    assert len(time_runs(lambda: clock(0.01), CPU, enough=0.025)) == 3
    assert len(time_runs(lambda: clock(60), CPU, enough=0.001)) == 1
    assert len(time_runs(lambda: clock(60), CPU, runs=2, enough=0.001)) == 2


def test_one_run_has_no_spread():
    assert median_and_iqr((2.5,)) == (2.5, None)


@given(st.lists(st.floats(0.001, 1e6), min_size=2, max_size=30))
def test_median_and_spread_are_those_of_the_statistics_module(samples):
    low, _, high = statistics.quantiles(samples, n=4, method="inclusive")
    median, iqr = median_and_iqr(tuple(samples))
    assert median == pytest.approx(statistics.median(samples))
    assert iqr == pytest.approx(high - low, abs=1e-6 * max(samples))
