"""The float64 reference, whole and in part, and what counts as right beside it."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from attn_cli.benchmark.contenders import CONTENDERS
from attn_cli.benchmark.inputs import draw
from attn_cli.benchmark.reference import compare, make_reference
from tests.benchmark.cases import CPU, make_case


def sdpa(drawn):
    """PyTorch's own, in float64 and with autograd."""
    case = drawn.case
    q, k, v = (x.detach().double().requires_grad_() for x in drawn.leaves)
    mask = torch.ones(case.queries, case.keys).tril(case.keys - case.queries).bool() if case.causal else None
    output = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=True)
    if drawn.gradient is None:
        return (output.detach(),)
    return torch.autograd.grad(output, (q, k, v), drawn.gradient.double())


@settings(deadline=None, max_examples=40)
@given(
    batch=st.integers(1, 2), kv_heads=st.integers(1, 3), groups=st.integers(1, 2), queries=st.integers(1, 9),
    more=st.integers(0, 5), causal=st.booleans(), mode=st.sampled_from(["forward", "backward"]),
    budget=st.sampled_from([None, 1500, 300]),
)  # fmt: skip
def test_it_agrees_with_pytorch_in_float64(batch, kv_heads, groups, queries, more, causal, mode, budget):
    case = make_case(batch, kv_heads * groups, kv_heads, queries, queries + more, 4, "float64", causal, mode)
    drawn = draw(case, CPU)
    reference = make_reference(drawn, budget)
    if reference is None:
        assert mode == "backward"
        assert budget is not None
        return
    difference = compare(sdpa(drawn), reference, drawn)
    assert difference.max_abs_error < 1e-12
    assert difference.is_within


def test_all_is_compared_where_that_is_cheap_and_spread_rows_where_not():
    drawn = draw(make_case(heads=2, queries=100, keys=100), CPU)
    whole = make_reference(drawn)
    assert whole.rows.tolist() == list(range(100))
    part = make_reference(drawn, scores=2 * 100 * 5)
    assert part.is_whole
    assert part.rows.tolist() == [0, 25, 50, 74, 99]
    least = make_reference(drawn, scores=1)
    assert least.rows.tolist() == [0]


def test_gradients_of_spread_heads_are_compared_where_all_would_take_too_long():
    drawn = draw(make_case(heads=4, queries=10, mode="backward"), CPU)
    part = make_reference(drawn, scores=2 * 4 * 100)
    assert part.groups == ((0, 0), (0, 3))
    assert not part.is_whole
    assert make_reference(drawn, scores=100) is None


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("mode", ["forward", "backward"])
@pytest.mark.parametrize("causal", [False, True])
def test_rounding_is_explained_and_a_planted_error_is_not(dtype, mode, causal):
    drawn = draw(make_case(heads=4, kv_heads=2, queries=64, head_dim=32, dtype=dtype, causal=causal, mode=mode), CPU)
    reference = make_reference(drawn)
    for name in ("textbook", "sdpa", "math"):
        results = CONTENDERS[name].prepare(drawn)()
        assert compare(results, reference, drawn).is_within, name
        for i in range(len(results)):
            wrong = [x.clone() for x in results]
            wrong[i][0, -1, -1, 0] += 0.5 * wrong[i].abs().max()
            assert not compare(wrong, reference, drawn).is_within, (name, i)


def test_the_error_is_the_largest_of_the_worst_gradient():
    drawn = draw(make_case(dtype="float64", mode="backward"), CPU)
    dq, dk, dv = sdpa(drawn)
    found = compare((dq, dk + 0.25, dv), make_reference(drawn), drawn)
    assert found.max_abs_error == pytest.approx(0.25)


def test_a_wrong_mask_is_seen():
    drawn = draw(make_case(queries=6, keys=9, causal=True), CPU)
    top_left = F.scaled_dot_product_attention(*drawn.leaves, is_causal=True)
    assert not compare((top_left,), make_reference(drawn), drawn).is_within


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_number_that_is_none_is_never_right(value):
    drawn = draw(make_case(), CPU)
    output = sdpa(drawn)[0].float()
    output[0, 0, 3, 1] = value
    difference = compare((output,), make_reference(drawn), drawn)
    assert not math.isfinite(difference.max_abs_error)
    assert not difference.is_within


def test_the_tolerance_follows_the_dtype_and_the_matrix_products_mode():
    def tolerance(dtype):
        drawn = draw(make_case(dtype=dtype), CPU)
        return compare(sdpa(drawn), make_reference(drawn), drawn).tolerance

    before = torch.get_float32_matmul_precision()
    precise = tolerance("float32")
    assert tolerance("float64") < precise < tolerance("float16") < tolerance("bfloat16")
    try:
        torch.set_float32_matmul_precision("medium")
        assert tolerance("float32") > 100 * precise
    finally:
        torch.set_float32_matmul_precision(before)


def test_an_output_of_another_shape_is_refused():
    drawn = draw(make_case(queries=4, keys=6), CPU)
    with pytest.raises(ValueError, match=r"expected \[\(1, 2, 4, 8\)\]"):
        compare((torch.zeros(1, 4, 2, 8),), make_reference(drawn), drawn)
