"""The float64 reference, whole and in part, and what counts as right beside it."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import example, given, settings
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
    budget=st.sampled_from([None, 1500, 300, 20]),
)  # fmt: skip
def test_it_agrees_with_pytorch_in_float64(batch, kv_heads, groups, queries, more, causal, mode, budget):
    case = make_case(batch, kv_heads * groups, kv_heads, queries, queries + more, 4, "float64", causal, mode)
    drawn = draw(case, CPU)
    difference = compare(sdpa(drawn), make_reference(drawn, budget), drawn)
    assert difference.max_abs_error < 1e-12
    assert difference.is_within


def test_all_is_compared_where_that_is_cheap_and_spread_rows_where_not():
    drawn = draw(make_case(heads=2, queries=100, keys=100), CPU)
    whole = make_reference(drawn)
    assert [part.rows.tolist() for part in whole.parts] == [list(range(100))] * 2
    some = make_reference(drawn, scores=2 * 100 * 5)
    assert [part.rows.tolist() for part in some.parts] == [[0, 25, 50, 74, 99]] * 2
    assert (whole.checked_rows, some.checked_rows) == (100, 5)
    least = make_reference(drawn, scores=1)
    assert [part.rows.tolist() for part in least.parts] == [[0]] * 2


def test_gradients_of_spread_heads_are_compared_where_all_would_take_too_long():
    drawn = draw(make_case(heads=4, queries=10, mode="backward"), CPU)
    reference = make_reference(drawn, scores=2 * 4 * 100)
    assert [(part.result, part.heads) for part in reference.parts] == [
        (result, slice(head, head + 1)) for head in (0, 3) for result in (0, 1, 2)
    ]
    assert reference.checked_rows == 10
    assert reference.left_out == "gradients of 2 of 4 key/value heads were compared"
    assert make_reference(drawn, scores=4 * 4 * 100).left_out is None


def test_gradients_of_spread_queries_and_keys_are_compared_where_not_even_a_head_is_cheap():
    drawn = draw(make_case(heads=2, kv_heads=1, queries=40, mode="backward"), CPU)
    reference = make_reference(drawn, scores=2 * 40 * 12)  # twelve rows, of 160 that a head would take
    queries, keys, values = reference.parts
    assert (queries.result, keys.result, values.result) == (0, 1, 2)
    assert queries.rows.tolist() == [0, 20, 39]
    assert keys.rows.tolist() == values.rows.tolist() == [0, 10, 20, 29, 39]
    assert "3 of 40 queries" in reference.left_out
    assert "5 of 40 keys" in reference.left_out
    for i in range(3):
        wrong = [x.clone() for x in sdpa(drawn)]
        wrong[i][:, :, -1] *= 1.01
        assert not compare(wrong, reference, drawn).is_within, i
    least = make_reference(drawn, scores=2 * 40 * 2)
    assert [part.result for part in least.parts] == [0]
    assert "none of a key" in least.left_out


def planted(n):
    """Outputs that a causal bfloat16 kernel could give by mistake, and the right one."""
    drawn = draw(make_case(queries=n, head_dim=64, dtype="bfloat16", causal=True), CPU)
    (right,) = CONTENDERS["sdpa"].prepare(drawn)()
    seen = torch.ones(n, n).tril().bool()

    def masked(mask, first=0):
        return F.scaled_dot_product_attention(
            *drawn.leaves, attn_mask=torch.where(torch.arange(n)[:, None] < first, seen, mask)
        )

    def changed(first, factor):
        return torch.cat((right[:, :, :first], right[:, :, first:] * factor), dim=2)

    wrong = {
        "the second half is zero": changed(n // 2, 0),
        "the second half is negated": changed(n // 2, -1),
        "scaled by 1.3 from row 256 on": changed(256, 1.3),
        "a window of a half": masked(seen & torch.ones(n, n).triu(-(n // 2)).bool()),
        "a future key from row 512 on": masked(torch.ones(n, n).tril(1).bool(), 512),
        "its own key unseen from row 512 on": masked(torch.ones(n, n).tril(-1).bool(), 512),
    }
    return drawn, right, wrong


def test_a_fault_in_rows_that_are_small_is_seen_beside_rows_that_are_large():
    """The first rows are values themselves, up to 4; each fault is less than 8 eps of that, a quarter, in its rows."""
    drawn, right, wrong = planted(1024)
    reference = make_reference(drawn)
    assert compare((right,), reference, drawn).share < 0.5
    largest = 8 * torch.finfo(torch.bfloat16).eps * float(right.abs().max())
    hidden = [name for name, output in wrong.items() if float((output - right).abs().max()) < largest]
    assert len(hidden) >= 2
    for name, output in wrong.items():
        assert compare((output,), reference, drawn).share > 1.5, name


@pytest.mark.parametrize("i", range(3))
@pytest.mark.parametrize("factor", [0, -1, 1.5])
def test_a_fault_in_small_rows_of_a_gradient_is_seen(i, factor):
    drawn = draw(make_case(heads=4, kv_heads=2, queries=384, head_dim=64, dtype="bfloat16", causal=True,
                           mode="backward"), CPU)  # fmt: skip
    reference, gradients = make_reference(drawn), list(CONTENDERS["sdpa"].prepare(drawn)())
    assert compare(gradients, reference, drawn).share < 0.5
    gradients[i] = torch.cat((gradients[i][:, :, :192], gradients[i][:, :, 192:] * factor), dim=2)
    assert not compare(gradients, reference, drawn).is_within


def test_a_wrong_row_is_told_with_its_own_tolerance():
    drawn = draw(make_case(queries=512, dtype="bfloat16", causal=True), CPU)
    (output,) = CONTENDERS["sdpa"].prepare(drawn)()
    output = output.clone()
    output[0, 1, 500] = 0
    difference = compare((output,), make_reference(drawn), drawn)
    assert difference.share == pytest.approx(difference.worst_error / difference.worst_tolerance)
    assert difference.worst_tolerance < difference.worst_error <= difference.max_abs_error


def louder(drawn, q, k, v, gradient):
    """The same case with its tensors times these."""
    needs = drawn.gradient is not None
    factors = zip(drawn.leaves, (q, k, v), strict=True)
    q, k, v = ((x.detach() * factor).requires_grad_(needs) for x, factor in factors)
    gradient = None if drawn.gradient is None else drawn.gradient * gradient
    return replace(drawn, inputs=replace(drawn.inputs, q=q, k=k, v=v), gradient=gradient)


SIZES = st.sampled_from([1, 2, 3, 17, 64, 200])
LOUDNESS = st.sampled_from([(1, 1, 1, 1), (8, 1, 1, 1), (1, 1, 30, 30), (0.05, 0.05, 0.1, 0.1), (4, 4, 1, 1)])


@settings(deadline=None, max_examples=60)
@example(1, 1, 1, 17, 128, "bfloat16", False, "backward", (4, 4, 1, 1))  # weights that exp flushes to 0
@example(1, 1, 1, 64, 8, "bfloat16", False, "backward", (4, 4, 1, 1))  # weights of 1e-33
@given(
    kv_heads=st.integers(1, 2), groups=st.integers(1, 3), queries=SIZES, keys=SIZES,
    head_dim=st.sampled_from([8, 32, 128]), dtype=st.sampled_from(["float64", "float32", "bfloat16", "float16"]),
    causal=st.booleans(), mode=st.sampled_from(["forward", "backward"]), loudness=LOUDNESS,
)  # fmt: skip
def test_a_right_backend_is_never_called_wrong(
    kv_heads, groups, queries, keys, head_dim, dtype, causal, mode, loudness
):
    queries = min(queries, keys) if causal else queries
    case = make_case(1, kv_heads * groups, kv_heads, queries, keys, head_dim, dtype, causal, mode)
    drawn = louder(draw(case, CPU), *loudness)
    reference = make_reference(drawn)
    for name in ("textbook", "sdpa", "math"):
        assert compare(CONTENDERS[name].prepare(drawn)(), reference, drawn).is_within, name


def rounded_as_on_a_gpu(drawn):
    """What fused kernels round on tensor cores: P, dP's mean over a rounded output, and dS; sums are in float32."""
    dtype = drawn.leaves[0].dtype
    q, k, v = (x.detach().float() for x in drawn.leaves)
    scale, seen = drawn.inputs.scale, torch.ones(q.shape[2], k.shape[2]).tril(k.shape[2] - q.shape[2]).bool()
    logits = (q @ k.mT * scale).masked_fill(~seen if drawn.case.causal else torch.tensor(False), -torch.inf)
    peak = logits.amax(dim=-1, keepdim=True)
    powers = torch.exp(logits - peak)
    total = powers.sum(dim=-1, keepdim=True)
    output = (powers.to(dtype).float() @ v / total).to(dtype)
    if drawn.gradient is None:
        return (output,)
    gradient = drawn.gradient.float()
    weights = powers / total
    mean = (gradient * output.float()).sum(dim=-1, keepdim=True)
    scores = (weights * (gradient @ v.mT - mean)).to(dtype).float()
    dv = weights.to(dtype).float().mT @ gradient
    return tuple(x.to(dtype) for x in (scores @ k * scale, scores.mT @ q * scale, dv))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("mode", ["forward", "backward"])
@pytest.mark.parametrize(("queries", "keys", "causal"), [(700, 700, True), (500, 700, False), (1, 2000, False)])
def test_what_a_gpus_kernels_round_is_explained(dtype, mode, queries, keys, causal):
    drawn = draw(make_case(queries=queries, keys=keys, head_dim=64, dtype=dtype, causal=causal, mode=mode), CPU)
    for loudness in ((1, 1, 1, 1), (4, 1, 1, 1), (1, 1, 20, 1)):
        loud = louder(drawn, *loudness)
        reference = make_reference(loud)
        assert compare(rounded_as_on_a_gpu(loud), reference, loud).share < 0.5, loudness


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("queries", [1, 2])
def test_gradients_that_cancel_to_zero_are_right(dtype, queries):
    """A row that sees one key has gradients of 0 for Q and K, of which every backend gives what rounding left."""
    drawn = draw(make_case(heads=4, queries=queries, head_dim=32, dtype=dtype, causal=True, mode="backward"), CPU)
    reference = make_reference(drawn)
    for name in ("textbook", "sdpa", "math"):
        gradients = list(CONTENDERS[name].prepare(drawn)())
        assert compare(gradients, reference, drawn).is_within, name
        gradients[0] = gradients[0] + 1
        assert not compare(gradients, reference, drawn).is_within


def test_rows_that_see_no_key_are_zero_and_nothing_else():
    drawn = draw(make_case(queries=9, keys=4, causal=True), CPU)
    reference, (output,) = make_reference(drawn), CONTENDERS["math"].prepare(drawn)()
    assert compare((output,), reference, drawn).is_within
    output[0, 0, 0, 0] = 1e-30
    assert compare((output,), reference, drawn).share == math.inf


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
        return float(make_reference(drawn).parts[0].allowed.max())

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
