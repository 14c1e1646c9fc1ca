"""What a case takes, counted in another way."""

import pytest

from attn_cli.benchmark.types import Peaks
from tests.benchmark.cases import make_case


def visible(queries, keys, causal):
    """Query → key pairs that are visible, one by one; the last query sees the last key."""
    return sum(not causal or key <= query + keys - queries for query in range(queries) for key in range(keys))


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("queries", "keys"), [(1, 1), (7, 7), (1, 9), (4, 9), (9, 4), (9, 1), (2, 3)])
def test_pairs_are_those_that_are_visible(queries, keys, causal):
    assert make_case(queries=queries, keys=keys, causal=causal).pairs == visible(queries, keys, causal)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("mode", "products"), [("forward", 2), ("backward", 5)])
def test_each_product_is_a_multiply_and_an_add_for_every_pair_and_feature(causal, mode, products):
    case = make_case(batch=3, heads=4, kv_heads=2, queries=5, keys=8, head_dim=16, causal=causal, mode=mode)
    assert case.flops == products * 2 * 3 * 4 * visible(5, 8, causal) * 16


def test_the_roofline_is_the_lower_of_two_roofs():
    peaks = Peaks({"float32": 1000.0}, 10.0)
    assert [peaks.roofline("float32", intensity) for intensity in (1, 99, 100, 101, 10**6)] == [
        10, 990, 1000, 1000, 1000,
    ]  # fmt: skip
    assert peaks.roofline("float16", 1) is None
    assert Peaks({"float32": 1.0}, None).roofline("float32", 1) is None
