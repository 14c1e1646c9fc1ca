"""Medians, intervals, verdicts and exponents on synthetic samples."""

import math
import statistics

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from attn_cli.benchmark.statistics import exponent, margin_of, ratio_interval, summarize, verdict

TIMES = st.lists(st.floats(0.001, 1e5), min_size=1, max_size=40)
OPPOSITE = {"FASTER": "SLOWER", "SLOWER": "FASTER", "SAME": "SAME", "UNCLEAR": "UNCLEAR"}


def sampled(seed, median=10.0, noise=0.01, count=40):
    """Samples around a median whose interquartile range is about ``noise`` of it, some of them far too slow."""
    generator = np.random.default_rng(seed)
    samples = median * np.exp(noise / 1.35 * generator.standard_normal(count))
    samples[generator.random(count) < 0.03] *= 1.5
    return tuple(samples.tolist())


def verdicts(shift, noise, count, pairs=200, drift=0.0):
    """What is said of pairs of runs, the later one ``shift`` times as slow or, every second time, as quick.

    Each run's speed is off by ``drift``, a standard deviation.
    """
    said, off = [], np.exp(drift * np.random.default_rng(99).standard_normal((pairs, 2)))
    for pair in range(pairs):
        old = sampled(2 * pair, 10 * off[pair, 0], noise, count)
        new = sampled(2 * pair + 1, 10 * shift * off[pair, 1], noise, count)
        said.append(verdict(old, new)[0] if pair % 2 else OPPOSITE[verdict(new, old)[0]])
    return said


@settings(deadline=None, max_examples=50)
@given(TIMES)
def test_summary_is_that_of_the_statistics_module(samples):
    summary = summarize(samples)
    assert summary.samples == tuple(samples)
    assert summary.median == pytest.approx(statistics.median(samples))
    assert summary.min == min(samples)
    if len(samples) > 1:
        low, _, high = statistics.quantiles(samples, n=4, method="inclusive")
        assert summary.iqr == pytest.approx(high - low, abs=1e-9 * max(samples))
    else:
        assert summary.iqr == 0


def test_nothing_measured_is_no_summary():
    with pytest.raises(ValueError, match="no samples"):
        summarize(())
    with pytest.raises(ValueError, match="no samples"):
        ratio_interval((1.0,), ())


@pytest.mark.parametrize(("olds", "news"), [(31, 31), (30, 30), (12, 45), (6, 5)])
def test_interval_is_that_of_plain_resampling(olds, news):
    old, new = np.array(sampled(1, 10, 0.1, olds)), np.array(sampled(2, 12, 0.05, news))
    generator = np.random.default_rng(7)
    drawn = [np.median(generator.choice(samples, (40_000, len(samples))), axis=1) for samples in (old, new)]
    low, high = np.quantile(drawn[1] / drawn[0], (0.005, 0.995))
    ratio = ratio_interval(tuple(old), tuple(new))
    assert ratio[0] == pytest.approx(np.median(new) / np.median(old))
    assert ratio[1:] == pytest.approx((low, high), rel=0.01)


@pytest.mark.parametrize("count", [15, 16, 60])
def test_interval_holds_the_true_ratio(count):
    held = 0
    for seed in range(200):
        generator = np.random.default_rng(seed)
        old, new = np.exp(0.05 * generator.standard_normal((2, count)))
        _, low, high = ratio_interval(tuple(old), tuple(1.2 * new))
        held += low <= 1.2 <= high
    assert held >= 193  # 99 % of 200, less what chance takes


@settings(deadline=None, max_examples=60)
@given(TIMES, TIMES, st.floats(0.01, 0.3))
def test_swapping_the_runs_swaps_the_verdict(old, new, margin):
    said, ratio, low, high, used = verdict(old, new, margin)
    swapped, *numbers = verdict(new, old, margin)
    assert swapped == OPPOSITE[said]
    assert numbers == pytest.approx((1 / ratio, 1 / high, 1 / low, used))


@settings(deadline=None, max_examples=60)
@given(TIMES, TIMES, st.integers(-10, 10))
def test_the_unit_changes_nothing(old, new, power):
    factor = 2.0**power
    scaled = verdict([factor * value for value in old], [factor * value for value in new])
    said = verdict(old, new)
    assert scaled[0] == said[0]
    assert scaled[1:] == pytest.approx(said[1:])


@settings(deadline=None, max_examples=60)
@given(TIMES, TIMES)
def test_interval_holds_the_ratio_and_the_order_of_samples_does_not_matter(old, new):
    ratio, low, high = ratio_interval(old, new)
    assert low <= high
    assert min(old) <= statistics.median(old) <= max(old)
    assert min(new) / max(old) <= low * (1 + 1e-9)
    assert high <= max(new) / min(old) * (1 + 1e-9)
    assert (ratio, low, high) == ratio_interval(old[::-1], new[::-1])


@settings(deadline=None, max_examples=40)
@given(st.lists(st.floats(1, 100), min_size=5, max_size=40), st.floats(0.01, 0.5))
def test_a_run_is_never_apart_from_itself(samples, margin):
    said, ratio, *_ = verdict(samples, samples, margin)
    assert said in ("SAME", "UNCLEAR")
    assert ratio == 1


@pytest.mark.parametrize("count", [5, 8, 20, 60, 200])
@pytest.mark.parametrize("noise", [0.01, 0.06, 0.2])
def test_the_same_thing_run_twice_is_the_same(noise, count):
    said = verdicts(1.0, noise, count, 400, drift=0.015)
    assert said.count("SAME") >= 0.95 * len(said)
    assert said.count("SLOWER") <= 0.02 * len(said)


@pytest.mark.parametrize("count", [20, 21, 60])
@pytest.mark.parametrize("noise", [0.01, 0.03, 0.06])
def test_a_tenth_slower_is_slower(noise, count):
    said = verdicts(1.1, noise, count, 400)
    assert said.count("SLOWER") >= 0.95 * len(said)


@pytest.mark.parametrize("noise", [0.01, 0.03])
def test_a_tenth_slower_is_seen_through_drift(noise):
    said = verdicts(1.1, noise, 60, drift=0.015)
    assert said.count("SLOWER") >= 0.9 * len(said)
    assert "FASTER" not in said


@pytest.mark.parametrize("noise", [0.05, 0.2, 1.0])
@pytest.mark.parametrize("count", [5, 6, 20, 100])
def test_noise_is_never_taken_for_a_difference(noise, count):
    said = verdicts(1.0, noise, count)
    assert said.count("FASTER") + said.count("SLOWER") <= 0.02 * len(said)


def test_much_noise_hides_a_small_difference_and_not_a_large_one():
    assert verdicts(1.06, 0.3, 20, 40).count("SLOWER") <= 2
    assert set(verdicts(3.0, 0.3, 40, 40)) == {"SLOWER"}


def test_beyond_the_margin_but_not_by_much_is_unclear():
    said = [verdict((10.0,) * 9, (10 * ratio,) * 9)[0] for ratio in (1.049, 1.051, 1.059, 1.061)]
    assert said == ["SAME", "UNCLEAR", "UNCLEAR", "SLOWER"]


def test_an_interval_that_reaches_1_proves_no_difference():
    old, new = (9.0, 9.0, 9.0, 10.0, 10.0, 10.0, 14.0), (9.5, 9.5, 12.0, 13.5, 13.5, 13.6, 13.7)
    said, ratio, low, _, margin = verdict(old, new)
    assert said != "SLOWER"
    assert low < 1
    assert ratio > 1.2
    assert margin > 0.05


def test_the_margin_is_the_largest_of_what_counts_what_scatters_and_what_is_left_open():
    quiet = (10.0,) * 30
    assert margin_of(quiet, quiet, (1.0, 1.0)) == 0.05
    assert margin_of(quiet, quiet, (1.0, 1.0), 0.2) == 0.2
    scattered = tuple(10.0 + 0.1 * number for number in range(-15, 16))
    noise = summarize(scattered).noise
    assert margin_of(scattered, scattered, (1.0, 1.0)) == pytest.approx(noise / 2**0.5)
    assert margin_of(quiet, quiet, (0.9, 1.1), 0.05) == pytest.approx(math.hypot(0.65 * 0.05, math.log(1.1 / 0.9) / 2))


def test_a_few_samples_are_no_evidence():
    assert verdict((1.0, 1.0, 1.0, 1.0), (2.0,) * 50)[0] == "UNCLEAR"
    assert verdict((1.0,) * 50, (1.0,))[0] == "UNCLEAR"
    assert verdict((1.0,) * 5, (2.0,) * 5)[0] == "SLOWER"


def test_the_margin_asked_for_is_kept_where_there_is_no_noise():
    assert verdict((10.0,) * 9, (10.4,) * 9) == (
        "SAME",
        pytest.approx(1.04),
        pytest.approx(1.04),
        pytest.approx(1.04),
        0.05,
    )
    assert verdict((10.0,) * 9, (10.4,) * 9, 0.02)[0] == "SLOWER"
    assert verdict((10.0,) * 9, (9.0,) * 9, 0.15)[0] == "SAME"
    assert verdict((10.0,) * 9, (8.0,) * 9, 0.15)[0] == "FASTER"


def test_a_clock_that_gives_zero_breaks_nothing():
    said, ratio, *_ = verdict((0.0,) * 9, (0.0,) * 9)
    assert (said, ratio) == ("SAME", 1)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.integers(1, 2**20), min_size=2, max_size=10, unique=True),
    st.floats(-3, 3),
    st.floats(1e-3, 1e3),
)
def test_exponent_of_a_power_law_is_exact(lengths, power, factor):
    assert exponent(lengths, [factor * float(length) ** power for length in lengths]) == pytest.approx(power, abs=1e-6)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.integers(1, 10**5), st.floats(1e-3, 1e6)), min_size=2, max_size=8))
def test_exponent_is_numpys_straight_line(points):
    lengths, values = zip(*points, strict=True)
    assume(max(lengths) > 2 * min(lengths))
    slope = np.polyfit(np.log(lengths), np.log(values), 1)[0]
    assert exponent(lengths, values) == pytest.approx(slope, abs=1e-6)


def test_exponent_leaves_out_what_is_unknown():
    assert exponent((1, 2, 4, 8), (3.0, None, 48.0, float("inf"))) == pytest.approx(2)
    assert exponent((1, 2), (3.0, None)) is None
    assert exponent((2, 2), (3.0, 4.0)) is None
    assert exponent((1, 2), (0, 4)) is None
    assert exponent((), ()) is None
