"""Growth of made-up results, and what it predicts."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attn_cli.benchmark.growth import growth_of, predicted_bytes
from attn_cli.benchmark.statistics import summarize
from attn_cli.benchmark.types import BenchCase, BenchResult

CASE = BenchCase(1, 8, 8, 512, 512, 64, "float32", False, "forward")


def result(length, ms, memory=None, backend="flash", queries=None, **others):
    case = replace(CASE, keys=length, queries=length if queries is None else queries, **others)
    summary = None if ms is None else summarize((ms,) * 3)
    return BenchResult(backend, case, "ok" if summary else "skipped", ms=summary, peak_memory_bytes=memory)


def test_time_and_memory_grow_by_their_own_exponents():
    results = [result(n, 3e-6 * n**2, 256 * n) for n in (2048, 512, 1024)]
    (growth,) = growth_of(results)
    assert growth.lengths == (512, 1024, 2048)
    assert growth.median_ms == pytest.approx((3e-6 * 512**2, 3e-6 * 1024**2, 3e-6 * 2048**2))
    assert growth.memory_bytes == (512 * 256, 1024 * 256, 2048 * 256)
    assert growth.time_exponent == pytest.approx(2)
    assert growth.memory_exponent == pytest.approx(1)
    assert growth.case == results[0].case
    assert growth.backend == "flash"
    assert growth.queries_grow


def test_each_backend_and_setting_grows_by_itself():
    settings_ = [
        {"backend": "math"}, {"dtype": "bfloat16"}, {"causal": True}, {"mode": "backward"},
        {"heads": 16}, {"kv_heads": 2}, {"head_dim": 128}, {"batch": 4},
    ]  # fmt: skip
    results = [result(n, float(n) ** i, **other) for n in (512, 1024) for i, other in enumerate(settings_)]
    growths = growth_of(results)
    assert [growth.time_exponent for growth in growths] == pytest.approx(range(len(settings_)))
    assert [growth.case for growth in growths] == [one.case for one in results[len(settings_) :]]


def test_fixed_queries_grow_by_the_keys():
    results = [
        result(keys, keys * queries / 1e6, queries=queries) for keys in (512, 1024, 2048) for queries in (1, 512)
    ]
    growths = growth_of(results)
    assert [growth.case.queries for growth in growths] == [1, 512]
    assert not any(growth.queries_grow for growth in growths)
    assert [growth.lengths for growth in growths] == [(512, 1024, 2048)] * 2
    assert [growth.time_exponent for growth in growths] == pytest.approx([1, 1])


def test_what_was_not_timed_is_no_point():
    assert growth_of([result(512, 1.0), result(1024, None)]) == ()
    (growth,) = growth_of([result(512, 1.0), result(1024, 2.0), result(2048, None)])
    assert growth.lengths == (512, 1024)
    assert growth.memory_bytes == (None, None)
    assert growth.memory_exponent is None
    assert growth_of([]) == ()


def test_a_wrong_backend_grows_as_well():
    (growth,) = growth_of([replace(result(n, n / 1.0), status="wrong") for n in (512, 1024)])
    assert growth.time_exponent == pytest.approx(1)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10**6), st.integers(0, 1000), st.sampled_from([1, 8, None]), st.integers(2, 40))
def test_prediction_is_exact_for_a_line_and_a_square(line, square, queries, times):
    def needed(case):
        return line * (case.queries + case.keys) + square * case.queries * case.keys

    shorter = [result(n, 1.0, queries=queries) for n in (256, 512, 1024)]
    shorter = [replace(one, peak_memory_bytes=needed(one.case)) for one in shorter]
    case = replace(CASE, keys=1024 * times, queries=queries or 1024 * times)
    expected = needed(case) or None
    assert predicted_bytes(shorter, case) == (pytest.approx(expected, rel=1e-9, abs=2) if expected else None)


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.tuples(st.integers(1, 1000), st.integers(1, 10**12)), min_size=1, max_size=5), st.integers(1001, 10**5)
)
def test_prediction_is_never_less_than_the_longest_measured(points, length):
    shorter = [result(n, 1.0, memory) for n, memory in dict(points).items()]
    longest = max(shorter, key=lambda one: one.case.keys).peak_memory_bytes
    case = replace(CASE, queries=length, keys=length)
    assert predicted_bytes(shorter, case) >= longest


def test_one_length_alone_predicts_a_line():
    case = replace(CASE, queries=4096, keys=4096)
    assert predicted_bytes([result(1024, 1.0, 1000)], case) == 4000


def test_one_length_alone_predicts_by_what_the_backend_is_known_to_hold():
    case = replace(CASE, queries=4096, keys=4096)
    square, fixed = (lambda case: case.queries * case.keys), (lambda _case: 10**9)
    assert predicted_bytes([result(1024, 1.0, 1000)], case, square) == 16_000
    assert predicted_bytes([result(1024, 1.0, 1000)], case, fixed) == 4000
    two = [result(512, 1.0, 500), result(1024, 1.0, 1000)]
    assert predicted_bytes(two, case, square) == 4000  # what was measured says more


def test_memory_that_grows_faster_than_a_square_is_taken_as_a_square():
    case = replace(CASE, queries=4096, keys=4096)
    assert predicted_bytes([result(1024, 1.0, 10), result(2048, 1.0, 1000)], case) == 4000
    assert predicted_bytes([result(1024, 1.0, 1000), result(2048, 1.0, 1100)], case) == 2200


def test_only_shorter_lengths_of_the_same_settings_predict():
    case = replace(CASE, queries=1024, keys=1024)
    others = [
        result(512, 1.0, 10**6, dtype="bfloat16"),
        result(512, 1.0, 10**6, heads=16),
        result(512, 1.0, 10**6, causal=True),
        result(2048, 1.0, 10**6),
        result(1024, 1.0, 10**6),
        result(512, 1.0, 10**6, queries=4096),
        result(512, 1.0, None),
    ]
    assert predicted_bytes(others, case) is None
    assert predicted_bytes([*others, result(512, 1.0, 100)], case) == 200
