"""Findings name the planted place, and say what caused it."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attn_cli.attention.masks import aligned_places
from attn_cli.attention.selection import Selection, select
from attn_cli.attention.types import LinearWeights
from attn_cli.inspection.findings import RULES, alignment_finding
from attn_cli.inspection.inspector import inspect
from attn_cli.inspection.options import InspectOptions
from attn_cli.inspection.types import Place
from tests.attention.calls import make_call

BROKEN = st.sampled_from([math.nan, math.inf, -math.inf])
FEW = settings(deadline=None, max_examples=40)


def found(call, code, **options):
    """The findings with this code."""
    return [finding for finding in inspect(call, InspectOptions(**options)).findings if finding.code == code]


def one(call, code, **options):
    (finding,) = found(call, code, **options)
    return finding


def test_a_sound_call_has_no_findings():
    assert inspect(make_call(causal=True, sinks=torch.tensor([0, -torch.inf, 1, 2]))).findings == ()


@FEW
@given(st.integers(0, 1), st.integers(0, 3), st.integers(0, 4), st.integers(0, 7), BROKEN, st.integers(1, 5))
def test_a_broken_query_is_named_in_q_and_in_its_row(batch, head, query, feature, value, block_rows):
    call = make_call()
    call.q[batch, head, query, feature] = value
    source, result = inspect(call, InspectOptions(block_rows=block_rows)).findings
    assert (source.code, source.severity, source.count) == ("ATTN001", "error", 1)
    assert source.place == Place("q", batch, head, query, feature=feature)
    assert f", in feature {feature}" in source.message
    assert (result.code, result.severity, result.count) == ("ATTN002", "error", 1)
    assert replace(result.place, key=None) == Place(None, batch, head, query)
    assert "q holds" in result.message


@FEW
@given(st.integers(0, 1), st.integers(0, 1), st.integers(0, 6), st.integers(0, 7), st.sampled_from("kv"))
def test_a_broken_key_is_named_with_its_key_value_head(batch, group, key, feature, name):
    call = make_call(kv_heads=2, causal=True)  # query i sees keys 0 to i + 2
    getattr(call, name)[batch, group, key, feature] = math.nan
    source, result = inspect(call).findings
    assert (source.code, source.count) == ("ATTN001", 1)
    assert source.place == Place(name, batch, group, None, key, feature)
    assert "key/value head" in source.message
    first = max(0, key - 2) if name == "k" else 0  # 0 · NaN reaches the rows that do not see the key
    assert result.place == Place(None, batch, 2 * group, first, key)
    assert result.count == 2 * (5 - first)  # in both query heads that read it
    assert f"{name} holds NaN at key {key}" in result.message


def test_an_infinite_key_breaks_only_the_rows_it_draws_to_itself():
    """A key that gives −∞ as logit gets the weight 0, and no harm is done."""
    call = make_call(batch=1, heads=1)
    call.k[0, 0, 2, 0] = math.inf
    drawn = call.q[0, 0, :, 0] > 0
    assert 0 < int(drawn.sum()) < 5
    assert one(call, "ATTN001").place == Place("k", 0, 0, None, 2, 0)
    finding = one(call, "ATTN002")
    assert finding.count == int(drawn.sum())
    assert finding.place == Place(None, 0, 0, int(drawn.nonzero()[0]), 2)


def test_nan_in_k_breaks_every_row_that_sees_it():
    call = make_call(causal=True)
    call.k[1, 3, 4] = math.nan
    assert one(call, "ATTN002").count == 3  # queries 2, 3 and 4


def test_a_hidden_nan_in_v_is_told_apart():
    call = make_call(valid_lens=torch.tensor([7, 3]))
    call.v[1, 2, 5] = math.nan
    finding = one(call, "ATTN002")
    assert finding.place == Place(None, 1, 2, 0, 5)
    assert "hidden" in finding.message
    assert finding.count == 5


def test_a_hidden_nan_in_k_is_not_blamed():
    call = make_call(valid_lens=torch.tensor([7, 3]))
    call.k[1, 2, 5] = math.nan
    call.v[1, 2, 1] = math.inf
    finding = one(call, "ATTN002")
    assert finding.place == Place(None, 1, 2, 0, 1)
    assert "v holds +∞ at key 1" in finding.message


def test_an_infinite_key_that_does_no_harm_is_not_blamed():
    call = make_call(batch=1, heads=1, queries=1, softcap=2.0)
    call.q[...] = 1.0
    call.k[0, 0, 1, 0] = math.inf  # the softcap makes 2 of it
    call.v[0, 0, 4] = math.nan
    assert one(call, "ATTN002").place.key == 4


def test_an_overflowing_dot_product_is_told_apart():
    call = make_call(dtype=torch.float32)
    call.q[0, 1, 2] = 1e30
    call.k[0, 1, 3] = 1e30
    finding = one(call, "ATTN002")
    assert not found(call, "ATTN001")
    assert finding.place == Place(None, 0, 1, 2, 3)
    assert "overflows to +∞" in finding.message


def test_an_overflowing_scale_is_told_apart():
    call = make_call(dtype=torch.float32, scale=1e38)
    call.q[0, 0, 0], call.k[0, 0, 0] = 10.0, 10.0
    assert "scaled logit of key 0 overflows" in one(call, "ATTN002").message


def test_an_overflowing_sum_of_values_is_told_apart():
    call = make_call(dtype=torch.float32, scale=0.0, batch=1, heads=1, queries=1)
    call.v[...] = 3.4e38
    call.v[0, 0, 0] = -3.4e38
    inspect(call)  # a weighted mean of finite values stays finite
    assert not found(call, "ATTN002")


@pytest.mark.parametrize(("value", "word"), [(math.nan, "NaN"), (math.inf, "+∞")])
def test_bias_and_sinks_are_causes_too(value, word):
    bias = torch.zeros(1, 1, 5, 7).double()
    bias[0, 0, 3, 2] = value
    source, result = inspect(make_call(bias=bias)).findings
    assert source.place == Place("bias", None, None, 3, 2)
    assert source.count == 1
    assert result.place == Place(None, 0, 0, 3, 2)
    assert result.message.endswith(f"the bias makes the logit of key 2 {word}")
    assert result.count == 8
    source, result = inspect(make_call(sinks=torch.tensor([0, 0, value, 0]))).findings
    assert source.place == Place("sinks", head=2)
    assert result.place == Place(None, 0, 2, 0)
    assert f"sink is {word}" in result.message


def test_minus_infinity_in_the_bias_is_no_finding():
    bias = torch.zeros(1, 1, 5, 7).double()
    bias[0, 0, 3, 2] = -math.inf
    assert inspect(make_call(bias=bias)).findings == ()


def test_an_output_projection_that_is_not_finite():
    weight = torch.eye(32).double()
    weight[3, 4] = math.nan
    finding = one(replace(make_call(), output_projection=LinearWeights(weight)), "ATTN001")
    assert finding.place == Place("W_o.weight")


def test_one_finding_a_tensor_with_the_count_and_what_there_is():
    call = make_call()
    call.q[0, 1, 2, :2] = math.nan
    call.q[1, 0, 0, 3] = math.inf
    finding = one(call, "ATTN001")
    assert finding.count == 2
    assert finding.place == Place("q", 0, 1, 2, feature=0)
    assert "2 NaN and 1 infinite value in 2 query rows, the first in feature 0" in finding.message
    assert one(call, "ATTN002").count == 2


def test_a_selection_is_reported_in_the_numbers_of_the_whole_call():
    call = make_call(kv_heads=2, valid_lens=torch.tensor([7, 0]))
    call.q[1, 3, 4] = math.nan
    call.k[1, 1, 6] = math.nan
    part = select(call, Selection(batch=(1,), heads=(2, 3), queries=(1, 4)))
    q, k, empty = inspect(part).findings
    assert q.place == Place("q", 1, 3, 4, feature=0)
    assert k.place == Place("k", 1, None, None, 6, 0)
    assert "query head 2 reads" in k.message
    assert empty.place == Place(None, 1, None, 1)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float8_e4m3fn])
def test_narrow_inputs_are_searched_too(dtype):
    call = make_call(dtype=torch.float32)
    call.q[1, 2, 3] = math.nan
    assert one(call.to(torch.device("cpu"), dtype), "ATTN001").place == Place("q", 1, 2, 3, feature=0)


@FEW
@given(st.lists(st.integers(0, 7), min_size=10, max_size=10), st.integers(1, 5))
def test_rows_without_a_key_are_counted_and_the_first_is_named(lens, block_rows):
    table = torch.tensor(lens).view(2, 5)
    call = make_call(valid_lens=table)
    empty = (table == 0).nonzero().tolist()
    findings = found(call, "ATTN003", block_rows=block_rows)
    assert bool(findings) == bool(empty)
    if empty:
        assert findings[0].place == Place(batch=empty[0][0], query=empty[0][1])
        assert findings[0].count == len(empty)
        assert findings[0].severity == "warning"


def test_what_happens_in_a_row_without_a_key():
    lens = torch.tensor([7, 0])
    plain = one(make_call(valid_lens=lens), "ATTN003").message
    assert "in any head: weights and output are 0, as with scaled_dot_product_attention" in plain
    assert "nn.MultiheadAttention gives NaN" in plain
    assert "uniform weights" in plain
    constant = one(make_call(valid_lens=lens, value=-1e6), "ATTN003").message
    assert "the mask value -1e+06 makes all hidden keys alike" in constant
    assert "scaled_dot_product_attention gives 0" in constant
    assert "nn.MultiheadAttention gives NaN" in constant
    sink = one(make_call(valid_lens=lens, sinks=torch.zeros(4)), "ATTN003").message
    assert sink.endswith(
        "all weight is on the sink and the output is 0; without a sink, nn.MultiheadAttention gives NaN or, training "
        "without weights, 0"
    )
    both = one(make_call(valid_lens=lens, sinks=torch.zeros(4), value=-1e6), "ATTN003").message
    assert "what the mask value -1e+06 leaves to hidden keys" in both
    causal = one(make_call(queries=7, keys=4, causal=True), "ATTN003")
    assert causal.place == Place(query=0)
    assert causal.count == 3
    assert "in any batch item or head" in causal.message


def test_a_row_that_the_bias_empties_in_one_head():
    bias = torch.zeros(1, 4, 5, 7).double()
    bias[0, 2, 3] = -math.inf
    finding = one(make_call(bias=bias), "ATTN003")
    assert finding.place == Place(head=2, query=3)
    assert finding.count == 1


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 8), st.integers(1, 8), st.booleans(), st.sampled_from([None, (1, 2), (-1, 0), (0, 0), (-1, -1)]),
    st.sampled_from(["none", "lens", "row lens", "keep", "keep of heads"]),
    st.sampled_from(["bottom-right", "top-left"]),
)  # fmt: skip
def test_the_other_alignment_is_counted_cell_by_cell(queries, keys, causal, window, kind, align):
    generator = torch.Generator().manual_seed(queries * 100 + keys)
    lens = torch.randint(0, keys + 1, (2, queries), generator=generator)
    keep = torch.rand(2 if kind == "keep" else 1, 1 if kind == "keep" else 3, queries, keys, generator=generator) > 0.4
    rules = {
        "causal": causal,
        "window": window,
        "valid_lens": {"lens": lens[:, 0], "row lens": lens}.get(kind),
        "keep": keep if kind.startswith("keep") else None,
    }
    call = make_call(heads=3, queries=queries, keys=keys, align=align, **rules)
    other = "top-left" if align == "bottom-right" else "bottom-right"
    moved = replace(call.rules.mask, places=aligned_places(queries, keys, other))

    def cells(mask):
        tile = mask.tile()
        heads = 3 if kind == "keep of heads" else 1
        shape = (2, heads, queries, keys)
        return torch.ones(shape, dtype=torch.bool) if tile is None else tile.expand(shape)

    changed = cells(call.rules.mask) ^ cells(moved)
    finding = alignment_finding(call, align)
    assert (finding is None) == (not changed.any())
    if finding is not None:
        assert finding.count == int(changed.sum())
        assert finding.place == Place(query=int(changed.any(dim=3).any(dim=1).any(dim=0).nonzero()[0]))
        assert (finding.code, finding.severity) == ("ATTN004", "info")
        assert align in finding.message
        assert other in finding.hint


def test_a_square_call_and_one_without_order_have_no_alignment_to_choose():
    assert alignment_finding(make_call(queries=5, keys=5, causal=True), "bottom-right") is None
    assert alignment_finding(make_call(), "bottom-right") is None


def test_codes_are_stable():
    assert [rule.code for rule in RULES] == [f"ATTN00{number}" for number in range(1, 6)]


def test_a_row_whose_logits_all_overflow_to_minus_infinity_is_no_quiet_zero():
    call = make_call(queries=6, keys=6, dtype=torch.float32)
    call.q[0, 1, 2], call.k[0, 1] = 1e30, -1e30
    found = inspect(call)
    assert found.metrics["nonfinite"][0].tolist() == [0, 1, 0, 0]
    assert found.labels[0][1] == "broken"
    (finding,) = [one for one in found.findings if one.code == "ATTN002"]
    assert (finding.place.batch, finding.place.head, finding.place.query) == (0, 1, 2)
    assert "−∞" in finding.message
