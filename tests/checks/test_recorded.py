"""ATTN006: what a file says came out, against what its q, k and v give."""

import re
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from attn_cli.attention.masks import aligned_places
from attn_cli.attention.selection import Selection
from attn_cli.checks.rules import recorded
from attn_cli.checks.rules.recorded import RecordedDisagrees
from attn_cli.inputs.types import Recorded
from tests.checks.cases import case, changed, finding, findings
from tests.checks.healthy import eager

HIDDEN = torch.tensor([8, 5])


def softmax_of(call, *, scale=None, keep=None, bias=None, value=-torch.inf, dtype=torch.float64):
    """Weights and output by PyTorch's softmax over everything, no matter what the call's own rules are."""
    q, k, v = (x.to(dtype) for x in (call.inputs.q, call.inputs.k, call.inputs.v))
    groups = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
    logits = q @ k.mT * (q.shape[-1] ** -0.5 if scale is None else scale)
    logits = logits if bias is None else logits + bias
    logits = logits if keep is None else logits.masked_fill(~keep, value)
    weights = logits.softmax(-1)
    return weights, weights @ v


def holding(call, output=None, weights=None):
    parts = (None if x is None else x.to(call.inputs.q.dtype) for x in (output, weights))
    return replace(call, recorded=Recorded(*parts))


def prefix(lens, keys=8):
    return (torch.arange(keys) < lens[:, None])[:, None, None]


@settings(deadline=None, max_examples=40)
@given(
    st.sampled_from([torch.float32, torch.bfloat16, torch.float16]),
    st.integers(0, 50),
    st.sampled_from(["none", "lens", "causal", "bias", "grouped"]),
    st.booleans(),
)
def test_what_pytorch_computes_agrees(dtype, seed, kind, in_own_dtype):
    options = {
        "none": {},
        "lens": {"valid_lens": HIDDEN},
        "causal": {"causal": True},
        "bias": {"bias": torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(seed))},
        "grouped": {"heads": 4, "kv_heads": 2},
    }[kind]
    keep = {"lens": prefix(HIDDEN), "causal": torch.ones(8, 8).tril().bool()}.get(kind)
    call = case(seed=seed, dtype=dtype, **options)
    precision = dtype if in_own_dtype else torch.float64
    bias = None if "bias" not in options else options["bias"].to(precision)
    weights, output = softmax_of(call, keep=keep, bias=bias, dtype=precision)
    assert findings(RecordedDisagrees(), holding(call, output, weights)) == ()


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1), st.integers(0, 2), st.integers(0, 7), st.integers(0, 15), st.booleans())
def test_another_number_is_named_with_both_values(batch, head, query, feature, is_selected):
    selection = Selection(batch=(batch,), heads=(head,), queries=(query,)) if is_selected else Selection()
    call = case(selection=selection)
    output = softmax_of(call)[1]
    output[batch, head, query, feature] += 0.01
    found = finding(RecordedDisagrees(), holding(call, output))
    assert (found.code, found.severity, found.count) == ("ATTN006", "error", 1)
    place = found.place
    assert (place.tensor, place.batch, place.head, place.query, place.feature) == (
        "output",
        batch,
        head,
        query,
        feature,
    )
    told = [float(x) for x in re.findall(r"is (\S+) where q, k and v give (\S+),", found.message)[0]]
    value = float(output[batch, head, query, feature])
    assert told == pytest.approx([value, value - 0.01], abs=1e-5)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1), st.integers(0, 2), st.integers(0, 7), st.integers(0, 6))
def test_a_perturbed_weight_is_named_with_its_cell(batch, head, query, key):
    call = case()
    weights = softmax_of(call)[0]
    weights[batch, head, query, key] += 0.02
    weights[batch, head, query, 7] -= 0.01
    found = finding(RecordedDisagrees(), holding(call, weights=weights))
    assert "sum to 1.01, not to 1" in found.message
    assert (found.place.batch, found.place.head, found.place.query, found.place.key) == (batch, head, query, None)
    weights[batch, head, query, 7] -= 0.01
    found = finding(RecordedDisagrees(), holding(call, weights=weights))
    assert (found.place.tensor, found.place.batch, found.place.head, found.place.query) == (
        "weights",
        batch,
        head,
        query,
    )
    assert found.place.key in (key, 7)


@pytest.mark.parametrize("name", ["float8_e4m3fn", "float8_e5m2"])
def test_what_is_stored_in_eight_bits_is_compared_as_far_as_they_tell(name):
    stored = getattr(torch, name)
    call = case(seed=3, dtype=torch.bfloat16)
    weights, output = (x.to(torch.bfloat16).to(stored) for x in softmax_of(call))
    assert findings(RecordedDisagrees(), replace(call, recorded=Recorded(output, weights))) == ()
    for wrong in ((output.float() * 1.8).to(stored), output.float().flip(2).to(stored)):
        found = finding(RecordedDisagrees(), replace(call, recorded=Recorded(wrong)))
        assert f"times what {name} explains" in found.message
    (found,) = findings(
        RecordedDisagrees(), replace(call, recorded=Recorded(weights=weights.float().flip(3).to(stored)))
    )
    assert found.severity == "error"


def test_a_hidden_fault_is_named():
    """TransformerLens: a NaN among the weights becomes 0."""
    call = case()
    call.inputs.q[1, 2, 3, 4] = torch.nan
    weights, output = (x.nan_to_num(0.0) for x in softmax_of(call))
    of_output, of_weights = findings(RecordedDisagrees(), holding(call, output, weights))
    assert (of_output.severity, of_output.count) == ("error", 1)
    assert (of_output.place.batch, of_output.place.head, of_output.place.query) == (1, 2, 3)
    assert "the recorded output is 0 where the definition gives NaN" in of_output.message
    assert "hides a fault" in of_output.message
    assert "the recorded weights are 0 where the definition gives NaN" in of_weights.message


def test_a_recorded_nan_that_the_inputs_do_not_explain():
    call = case()
    weights, output = softmax_of(call)
    output[0, 1, 2, 5] = torch.nan
    found = finding(RecordedDisagrees(), holding(call, output, weights))
    assert "is NaN where the definition gives" in found.message
    assert found.place.feature == 5


def test_the_same_nan_in_both_agrees():
    call = case()
    call.inputs.k[1, 2, 3, 4] = torch.nan
    weights, output = softmax_of(call)
    assert findings(RecordedDisagrees(), holding(call, output, weights)) == ()


def test_uniform_weights_in_an_empty_row():
    """d2l's masked_softmax with a valid length of 0."""
    lens = torch.tensor([8, 0])
    call = case(valid_lens=lens)
    weights, output = softmax_of(call, keep=prefix(lens), value=-1e6)
    for found, what in zip(
        findings(RecordedDisagrees(), holding(call, output, weights)), ("output", "weights"), strict=True
    ):
        assert (found.severity, found.place.batch, found.place.tensor, found.count) == ("error", 1, what, 24)
        assert "a finite mask constant" in found.message
        assert "--mask-value -1e+06" in found.hint


def test_uniform_in_empty_rows_beside_something_else():
    lens = torch.tensor([8, 0])
    call = case(valid_lens=lens)
    weights = softmax_of(call, keep=prefix(lens), value=-1e6)[0]
    weights[0, 0, 0] = weights[0, 0, 0].flip(0)
    uniform, other = findings(RecordedDisagrees(), holding(call, weights=weights))
    assert "uniform over all keys in 24 query rows" in uniform.message
    assert (other.place.batch, other.place.head, other.place.query) == (0, 0, 0)


def test_nan_in_an_empty_row_is_told_apart():
    """nn.MultiheadAttention: softmax over −∞ alone."""
    lens = torch.tensor([8, 0])
    call = case(valid_lens=lens)
    found = finding(RecordedDisagrees(), holding(call, softmax_of(call, keep=prefix(lens))[1]))
    assert "in 24 query rows without a visible key" in found.message
    assert (found.place.batch, found.count) == (1, 24)


def test_zeros_in_an_empty_row_agree():
    lens = torch.tensor([8, 0])
    call = case(valid_lens=lens)
    weights, output = (x.nan_to_num(0.0) for x in softmax_of(call, keep=prefix(lens)))
    assert findings(RecordedDisagrees(), holding(call, output, weights)) == ()


def test_weight_on_a_hidden_key():
    call = case(valid_lens=HIDDEN)
    weights = softmax_of(call, keep=prefix(HIDDEN))[0]
    weights[1, 1, 4, 6], weights[1, 1, 4, 0] = 0.125, weights[1, 1, 4, 0] - 0.125
    found = finding(RecordedDisagrees(), holding(call, weights=weights))
    assert "give 0.125 to key 6, hidden from that query" in found.message
    assert (found.place.batch, found.place.head, found.place.query, found.place.key) == (1, 1, 4, 6)


def lower(queries, keys, offset):
    return torch.ones(queries, keys).tril(offset).bool()


@pytest.mark.parametrize(
    ("options", "computed", "name"),
    [
        ({"causal": True, "queries": 4}, {"keep": lower(4, 8, 0)}, "causal order aligned top-left"),
        (
            {"causal": True, "queries": 4, "align": "top-left"},
            {"keep": lower(4, 8, 4)},
            "causal order aligned bottom-right",
        ),
        ({"causal": True}, {}, "no causal order"),
        ({}, {"keep": lower(8, 8, 0)}, "causal order"),
        ({"keep": prefix(HIDDEN)}, {"keep": ~prefix(torch.tensor([7, 5]))}, None),
        ({"keep": prefix(torch.tensor([7, 5]))}, {"keep": ~prefix(torch.tensor([7, 5]))}, "the other way round"),
        ({"valid_lens": HIDDEN}, {}, "no valid lengths"),
        ({"bias": torch.randn(1, 1, 8, 8)}, {}, "no bias"),
        ({}, {"scale": 1.0}, "no scale"),
        ({"scale": 1.0}, {}, "the scale 1/√D"),
        ({}, {"scale": 1 / 16}, "1/√D twice"),
    ],
)
@pytest.mark.parametrize("what", ["output", "weights"])
def test_a_known_other_reading_is_named(options, computed, name, what):
    call = case(**options)
    weights, output = softmax_of(call, **computed)
    made = {"output": output, "weights": weights}[what]
    found = findings(RecordedDisagrees(), holding(call, **{what: made.nan_to_num(0.0)}))
    if name is None:
        assert not any("as it was read" in one.message for one in found)
        return
    (only,) = found
    assert name in only.message
    assert only.severity == "error"


def test_key_value_heads_in_another_order():
    call = case(heads=4, kv_heads=2)
    q, k, v = (x.double() for x in (call.inputs.q, call.inputs.k.repeat(1, 2, 1, 1), call.inputs.v.repeat(1, 2, 1, 1)))
    found = finding(RecordedDisagrees(), holding(call, F.scaled_dot_product_attention(q, k, v)))
    assert "h mod Hkv" in found.message
    assert "repeat_interleave" in found.hint


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_an_output_computed_in_a_coarser_dtype_is_a_warning(dtype):
    call = case(queries=32, keys=32, dim=32)
    output = F.scaled_dot_product_attention(*(x.to(dtype) for x in (call.inputs.q, call.inputs.k, call.inputs.v)))
    found = finding(RecordedDisagrees(), holding(call, output.float()))
    assert found.severity == "warning"
    assert "as if computed in half precision" in found.message


def test_a_long_call_is_computed_again_only_where_it_looks_wrong(monkeypatch):
    monkeypatch.setattr(recorded, "MOST_CELLS", 0)
    call = case(queries=300, keys=20)
    output = softmax_of(call)[1]
    assert findings(RecordedDisagrees(), holding(call, output)) == ()
    output[1, 2, 271, 3] += 1
    found = finding(RecordedDisagrees(), holding(call, output))
    assert (found.place.batch, found.place.head, found.place.query, found.place.feature) == (1, 2, 271, 3)


def test_no_record_no_finding():
    assert findings(RecordedDisagrees(), case()) == ()


def test_a_selection_of_a_causal_call_keeps_its_places():
    call = case(queries=4, causal=True, selection=Selection(queries=(1, 3)))
    output = softmax_of(call, keep=torch.arange(8) <= aligned_places(4, 8)[:, None])[1]
    assert findings(RecordedDisagrees(), holding(call, output)) == ()
    found = finding(RecordedDisagrees(), holding(call, changed_row(output, 3)))
    assert found.place.query == 3


def changed_row(output, row):
    output = output.clone()
    output[:, :, row] += 1
    return output


def test_infinite_values_do_not_raise():
    call = case()
    made = changed(call, v=call.inputs.v * torch.inf)
    assert {one.code for one in findings(RecordedDisagrees(), holding(made, softmax_of(call)[1]))} == {"ATTN006"}


@pytest.mark.parametrize("what", ["output", "weights"])
def test_a_wrong_row_beside_rows_of_mask_constants_alone_is_named(what):
    """The rows that a constant hides speak for no other reading, and hide no fault of another row."""
    call = eager(torch.float32, -1e9)
    made = getattr(call.recorded, what)
    made[1, 2, 20] = made[1, 2, 20].flip(-1)
    found = finding(RecordedDisagrees(), call)
    assert (found.place.tensor, found.place.batch, found.place.head, found.place.query) == (what, 1, 2, 20)
    assert found.count == 1
    assert "as it was read" not in found.message


def test_a_missing_mask_is_named_beside_rows_of_mask_constants_alone():
    call = eager(torch.float32, -1e9)
    found = finding(RecordedDisagrees(), holding(call, softmax_of(call)[1]))
    assert "is what no bias gives" in found.message


def test_a_nan_in_a_row_of_mask_constants_alone_is_told():
    call = eager(torch.float32, -1e9)
    call.recorded.output[1, 0, 0, 3] = torch.nan
    assert "is NaN where the definition gives" in finding(RecordedDisagrees(), call).message


def test_an_output_with_as_many_queries_as_heads_may_be_turned():
    call = case(heads=4, queries=4, keys=4)
    output = softmax_of(call)[1]
    found = finding(RecordedDisagrees(), holding(call, output.transpose(1, 2)))
    assert (found.severity, found.place.tensor) == ("info", "output")
    assert "(B, Sq, Hq, Dv)" in found.message
    assert findings(RecordedDisagrees(), holding(call, output)) == ()
    assert finding(RecordedDisagrees(), holding(call, 2 * output.transpose(1, 2))).severity == "error"
