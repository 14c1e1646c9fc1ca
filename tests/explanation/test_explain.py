"""What is told of a row and a cell, beside the textbook, NumPy and PyTorch's own functions."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from attn_cli.attention import textbook
from attn_cli.attention.types import LinearWeights
from attn_cli.errors import BackendError, InputError, UsageError
from attn_cli.explanation.one_row import cut_row
from attn_cli.inputs.draws import DrawOptions, draw_call
from attn_cli.lesson import build_lesson
from tests.attention.calls import make_call
from tests.explanation.told import full, loaded, tell
from tests.inspection.cases import cases

CASES = cases()
PLACES = [(0, 0, 0), (1, 3, 3), (0, 1, 2)]


def close(found, expected):
    torch.testing.assert_close(
        torch.as_tensor(found, dtype=torch.float64), torch.as_tensor(expected, dtype=torch.float64), equal_nan=True
    )


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", CASES)
def test_every_step_is_the_textbooks(name, place):
    inputs, (batch, head, query) = CASES[name], place
    steps = textbook.attend(inputs)
    for key in {0, 2, inputs.weights_shape[3] - 1}:
        told = tell(inputs, batch, head, query, key)
        cell, row = told.cell, told.row
        at = (batch, head, query, key)
        close(cell.score.total, steps.scores[at])
        close([cell.scaled, cell.capped, cell.biased], [x[at] for x in (steps.scaled, steps.capped, steps.biased)])
        close([cell.logit, cell.weight], [steps.masked[at], steps.weights[at]])
        kv_head = head // (4 // inputs.k.shape[1])
        assert told.kv_head == kv_head
        added = steps.weights[at] * inputs.v[batch, kv_head, key]
        close(cell.part.norm, added.norm())
        close(cell.part.along.total, added @ steps.output[at[:3]])
    close(row.output, steps.output[at[:3]])
    close(row.lse, steps.lse[at[:3]])
    if steps.sink is not None:
        close(row.sink_weight, steps.sink[at[:3]])
    assert row.visible == int(torch.isfinite(steps.masked[at[:3]]).sum()) or inputs.rules.mask.value is not None


@pytest.mark.parametrize("name", CASES)
def test_what_is_told_of_the_row_is_numpys(name):
    inputs = CASES[name]
    told = tell(inputs, 1, 2, 3, top=50).row
    weights = textbook.attend(inputs).weights[1, 2, 3].numpy()
    entropy = -sum(a * math.log(a) for a in weights if a > 0)
    close([told.entropy, told.effective_keys], [entropy, math.exp(entropy)])
    order = sorted((key for key in range(len(weights))), key=lambda key: -weights[key])
    shown = [one.key for one in told.top]
    assert [weights[key] for key in shown] == pytest.approx([weights[key] for key in order[: len(shown)]])
    close([one.running for one in told.top], np.cumsum([weights[key] for key in shown]))
    assert told.others == 0
    if told.output_norm:
        assert sum(one.share for one in told.top) == pytest.approx(1)
        assert sum(tell(inputs, 1, 2, 3, key).cell.projected.share for key in range(len(weights))) == pytest.approx(1)


def test_equal_weights_are_told_from_the_first_key_on():
    told = tell(make_call(scale=0.0, keys=40), top=4).row
    assert [one.key for one in told.top] == [0, 1, 2, 3]
    assert told.others == 36


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 500), st.integers(0, 1), st.integers(0, 3), st.integers(0, 4), st.integers(1, 9))
def test_the_parts_of_every_sum_make_it(seed, batch, head, query, top):
    told = tell(full(seed), batch, head, query, key=seed % 7, top=top)
    for dot in (told.cell.score, told.cell.part.along, told.cell.projected.along):
        assert sum(term.product for term in dot.terms) + dot.rest == pytest.approx(dot.total, abs=1e-12)
        sizes = [abs(term.product) for term in dot.terms]
        assert sizes == sorted(sizes, reverse=True)
        assert all(term.product == pytest.approx(term.first * term.second) for term in dot.terms)
    row = told.row
    assert row.exponentials + row.sink_exponential == pytest.approx(row.denominator)
    assert row.sink_exponential / row.denominator == pytest.approx(row.sink_weight)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 500), st.integers(0, 1), st.integers(0, 3), st.integers(0, 4))
def test_the_causes_are_the_mask(seed, batch, head, query):
    bias = torch.randn(1, 4, 5, 7, generator=torch.Generator().manual_seed(seed))
    inputs = full(seed, bias=bias.masked_fill(bias > 1, -torch.inf), window=(2, 1))
    visible = inputs.rules.mask.tile()[batch, 0, query] & (inputs.rules.bias[0, head, query] > -torch.inf)
    cells = [tell(inputs, batch, head, query, key).cell for key in range(7)]
    assert [cell.is_visible for cell in cells] == visible.tolist()
    row = tell(inputs, batch, head, query).row
    for cause in row.causes:
        assert cause.count == sum(cause.kind in {one.kind for one in cell.hidden_by} for cell in cells)
    assert row.visible == int(visible.sum())


def test_every_rule_that_hides_a_key_is_named():
    keep = torch.ones(1, 1, 5, 7, dtype=torch.bool)
    keep[..., 6] = False
    bias = torch.zeros(1, 1, 1, 7)
    bias[..., 6] = -torch.inf
    inputs = make_call(causal=True, window=(1, 1), valid_lens=torch.tensor([3, 7]), keep=keep, bias=bias)
    causes = tell(inputs, 0, 0, 1, 6).cell.hidden_by
    assert [cause.kind for cause in causes] == ["causal", "window right", "valid length", "keep mask", "bias"]
    assert "aligned place 3" in causes[0].sentence
    assert "batch item 0 has 3 valid keys of 7" in causes[2].sentence
    assert [cause.kind for cause in tell(inputs, 1, 0, 4, 0).cell.hidden_by] == ["window left"]


def test_a_module_is_projected_for_this_head_alone():
    call = draw_call(
        DrawOptions(num_hiddens=24, heads=6, kv_heads=2, bias=True, valid_lens=(3, 2), dtype=torch.float64)
    )
    steps = textbook.attend(textbook.project_inputs(call.inputs))
    told = tell(call.inputs, 1, 4, 2, 1)
    close(told.row.output, steps.output[1, 4, 2])
    close(told.cell.logit, steps.masked[1, 4, 2, 1])
    assert (told.kv_head, told.kv_heads, told.shape) == (1, 2, (2, 6, 4, 6))
    alone = torch.zeros_like(steps.output)
    alone[:, 4] = steps.output[:, 4]
    W_o = replace(call.inputs.W_o, bias=None)
    close(told.row.projected_norm, textbook.project_output(alone, W_o)[1, 2].norm())
    assert told.kernel.difference < 1e-12


def test_the_numbers_are_those_of_the_file_in_float64():
    inputs = full(3, dtype=torch.bfloat16)
    exact = textbook.attend(inputs.to(torch.device("cpu"), torch.float64))
    told = tell(inputs, 1, 2, 4, 3)
    close(told.row.output, exact.output[1, 2, 4])
    close(told.cell.weight, exact.weights[1, 2, 4, 3])
    assert (told.dtype, told.kernel.dtype) == ("bfloat16", "bfloat16")


def test_the_kernels_difference_is_its_own():
    inputs = make_call(causal=True, dtype=torch.float32, align="top-left", seed=4)
    given = F.scaled_dot_product_attention(inputs.q, inputs.k, inputs.v, is_causal=True)[1, 2, 3]
    told = tell(inputs, 1, 2, 3)
    apart = (given.double() - torch.tensor(told.row.output)).abs()
    assert told.kernel.difference == pytest.approx(float(apart.max()), abs=3e-7)
    assert told.kernel.ran == "flash"
    assert told.findings == ()


def test_a_kernel_that_cannot_run_says_why():
    call = make_call(valid_lens=torch.tensor([3, 0]), value=-1e6, dtype=torch.float32)
    told = tell(call, dtype="float16")
    assert "does not fit float16" in told.kernel.reason
    assert told.kernel.output == ()
    with pytest.raises(BackendError, match="softcap"):
        tell(make_call(softcap=2.0, dtype=torch.float32), backend="sdpa")


def test_a_mask_value_that_no_kernel_could_take_is_refused():
    call = make_call(value=-1e6, dtype=torch.float16)
    for options in ({}, {"dtype": "float16"}):
        with pytest.raises(UsageError, match="--mask-value -1e\\+06: does not fit float16"):
            tell(call, **options)
    assert tell(call, dtype="float32").kernel.reason is None


def test_a_key_outside_is_refused():
    with pytest.raises(InputError, match=r"case\.safetensors: --key 7; expected 0 to 6, of 7 keys"):
        tell(make_call(), key=7)


@settings(deadline=None, max_examples=60)
@given(st.sampled_from("qkv"), st.integers(0, 7), st.integers(0, 6), st.sampled_from([math.nan, math.inf]))
def test_the_factor_that_brings_a_nan_is_named(name, feature, key, value):
    inputs = make_call(causal=True, kv_heads=2, dtype=torch.float32)
    planted = getattr(inputs, name).clone()
    planted[1, 3 if name == "q" else 1, 2 if name == "q" else key, feature] = value
    told = tell(replace(inputs, **{name: planted}), 1, 3, 2, 0)
    is_seen = name == "q" or (name == "k" and key <= 4) or name == "v"
    found = [one for one in told.findings if one.code == "ATTN001"]
    assert len(found) == int(is_seen)
    if not is_seen:
        assert {one.code for one in told.findings} <= {"ATTN005"}  # where the kernel hands on a hidden key's NaN
        return
    place = found[0].place
    assert (place.tensor, place.batch, place.feature) == (name, 1, feature)
    assert (place.head, place.query, place.key) == ((3, 2, None) if name == "q" else (1, None, key))
    broken = not all(math.isfinite(x) for x in told.row.output)
    assert ("ATTN002" in [one.code for one in told.findings]) == broken
    assert broken or value == math.inf  # +∞ with a negative factor is −∞, which takes a key its weight


MODULE = draw_call(DrawOptions(num_hiddens=24, heads=6, kv_heads=2, bias=True, dtype=torch.float32)).inputs


@pytest.mark.parametrize(
    ("layer", "feature", "brings"), [("W_q", 4 * 4 + 1, "q"), ("W_k", 1 * 4 + 2, "k"), ("W_v", 1 * 4, "v")]
)
@pytest.mark.parametrize("part", ["weight", "bias"])
def test_what_breaks_a_projection_is_named_before_what_it_broke(layer, feature, brings, part):
    planted = getattr(getattr(MODULE, layer), part).clone()
    planted[feature] = torch.nan
    module = replace(MODULE, **{layer: replace(getattr(MODULE, layer), **{part: planted})})
    found = tell(module, 1, 4, 2).findings
    assert [one.place.tensor for one in found if one.code == "ATTN001"] == [f"{layer}.{part}", brings]
    assert f"for this head, the first of output feature {feature}" in found[0].message
    assert not tell(module, 1, 0, 2).findings  # another head, of another group


def test_what_breaks_hidden_states_is_named_in_its_row():
    queries = MODULE.queries.clone()
    queries[1, 2, 5] = torch.inf
    found = tell(replace(MODULE, queries=queries), 1, 4, 2).findings
    assert [(one.place.tensor, one.place.batch, one.place.query) for one in found if one.code == "ATTN001"] == [
        ("queries", 1, 2), ("q", 1, 2)]  # fmt: skip
    assert not tell(replace(MODULE, queries=queries), 1, 4, 1).findings


@pytest.mark.parametrize("key", [2, 6])
def test_a_nan_in_the_bias_counts_where_the_key_is_seen(key):
    bias = torch.zeros(1, 1, 1, 7)
    bias[..., key] = torch.nan
    found = tell(make_call(causal=True, bias=bias), 0, 1, 2, backend="textbook").findings
    assert [(one.code, one.place.key) for one in found] == ([("ATTN001", 2), ("ATTN002", 2)] if key == 2 else [])


def test_a_nan_in_the_sink_and_in_the_projection_is_named():
    sinks = torch.tensor([0.0, torch.nan, 0.0, 0.0]).double()
    found = tell(make_call(sinks=sinks), 0, 1, 2).findings
    assert [(one.code, one.place.tensor) for one in found] == [("ATTN001", "sinks"), ("ATTN002", None)]
    assert tell(make_call(sinks=sinks), 0, 2, 2).findings == ()
    weight = torch.ones(6, 4 * 8).double()
    weight[2, 9] = torch.nan
    inputs = replace(make_call(), output_projection=LinearWeights(weight))
    assert [one.place.tensor for one in tell(inputs, 0, 1, 2).findings] == ["W_o.weight"]
    assert tell(inputs, 0, 0, 2).findings == ()


def test_eight_bit_floats_are_told_too():
    inputs = make_call(kv_heads=2, dtype=torch.float32)
    small = replace(inputs, **{name: getattr(inputs, name).to(torch.float8_e4m3fn) for name in "qkv"})
    exact = textbook.attend(replace(small, **{name: getattr(small, name).double() for name in "qkv"}))
    told = tell(small, 1, 3, 2, 4)
    close(told.row.output, exact.output[1, 3, 2])
    close(told.cell.weight, exact.weights[1, 3, 2, 4])


EIGHTH = MODULE.to(torch.device("cpu"), torch.float8_e5m2)
LAYERS = [f"W_{x}.{part}" for x in "qkv" for part in ("weight", "bias")]


@pytest.mark.parametrize("name", ["none", "queries", "keys", "values", *LAYERS, "W_o.weight"])
@pytest.mark.parametrize("value", [torch.nan, -torch.inf])
def test_a_module_in_eight_bits_is_told_as_in_more(name, value):
    name, _, part = name.partition(".")
    module = EIGHTH
    if name != "none":
        held = getattr(module, name)
        numbers = (getattr(held, part) if part else held).float()
        numbers[1 if part else (1, 2)] = value  # an output feature of head 0, or all of a row
        numbers = numbers.to(torch.float8_e5m2)
        module = replace(module, **{name: replace(held, **{part: numbers}) if part else numbers})
    told, wider = (tell(one, 1, 0, 2, 2) for one in (module, module.to(torch.device("cpu"), torch.float32)))
    close(told.row.output, wider.row.output)
    assert told.findings == wider.findings
    assert bool(told.findings) == (name != "none")


def test_the_largest_part_of_a_dot_product_is_the_one_that_breaks_it():
    inputs = make_call()
    inputs.k[0, 0, 2, 5] = torch.nan
    assert tell(inputs, key=2).cell.score.terms[0].feature == 5


def test_a_kernel_that_hides_a_fault_is_a_finding():
    """PyTorch's CPU kernel has given 0 for a row with a NaN; whatever it gives, the two are compared."""
    inputs = make_call(dtype=torch.float32)
    inputs.q[0, 0, 0, 0] = torch.nan
    told = tell(inputs)
    given = F.scaled_dot_product_attention(inputs.q, inputs.k, inputs.v)[0, 0, 0]
    hides = int(given.isfinite().sum())
    assert told.kernel.disagreements == hides
    assert ("ATTN005" in [one.code for one in told.findings]) == bool(hides)


@pytest.mark.parametrize(
    ("rules", "weights", "said"),
    [
        ({}, 0.0, "weights and output are 0"),
        ({"value": -1e6}, 1 / 7, "spread over keys that should be hidden"),
        ({"sinks": torch.zeros(4).double()}, 0.0, "all weight is on the sink"),
    ],
)
def test_a_row_without_a_visible_key(rules, weights, said):
    told = tell(make_call(valid_lens=torch.tensor([0, 7]), **rules), key=3)
    assert told.cell.weight == pytest.approx(weights)
    assert [one.code for one in told.findings] == ["ATTN003"]
    assert said in told.findings[0].message
    assert told.row.visible == 0
    assert (told.row.scores, told.row.hidden_weight) == (None, pytest.approx(7 * weights))
    assert math.isnan(told.cell.part.share) == (weights == 0)


def test_a_finite_mask_value_leaks_what_it_leaks():
    inputs = make_call(causal=True, value=-2.0)
    steps = textbook.attend(inputs)
    told = tell(inputs, 0, 0, 1, top=7)
    assert told.row.hidden_weight == pytest.approx(float(steps.weights[0, 0, 1, 4:].sum()))
    assert {one.key for one in told.row.top if not one.is_visible} == {4, 5, 6}


def test_titles_are_those_of_the_lesson():
    drawn = draw_call(DrawOptions(num_hiddens=8, heads=2, valid_lens=(3, 2)))
    lesson = {step.title: step.equation for step in build_lesson(drawn.inputs).steps}
    told = tell(drawn.inputs, 0, 1, 2)
    assert {words.title for words in told.words} <= set(lesson)
    same = [words for words in told.words if words.stage != "scale"]
    assert all(words.equation == lesson[words.title] for words in same)
    assert [words.stage for words in tell(full()).words] == [
        "scores", "scale", "softcap", "bias", "mask", "hide", "softmax", "mix", "projection",
    ]  # fmt: skip


def test_k_and_v_stay_where_the_file_has_them():
    inputs = make_call(kv_heads=2, keys=1000, dtype=torch.float32)
    row = cut_row(loaded(inputs), 1, 3, 2)
    for x, whole in ((row.inputs.k, inputs.k), (row.inputs.v, inputs.v)):
        assert x.untyped_storage().data_ptr() == whole.untyped_storage().data_ptr()
        assert x.shape == (1, 1, 1000, 8)


def test_long_contexts_are_told_in_blocks():
    inputs = make_call(batch=1, heads=1, queries=1, keys=20_000, dtype=torch.float32)
    exact = textbook.attend(inputs.to(torch.device("cpu"), torch.float64))
    told = tell(inputs, key=19_999)
    close(told.row.output, exact.output[0, 0, 0])
    close(told.cell.weight, exact.weights[0, 0, 0, -1])


def test_the_bias_of_the_output_projection_belongs_to_no_head():
    inputs = make_call()
    weight = torch.randn(6, 4 * 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    plain, shifted = (
        tell(replace(inputs, output_projection=LinearWeights(weight, bias)), 0, 2, 1, 0)
        for bias in (None, torch.ones(6).double() * 9)
    )
    assert plain.row.projected_norm == shifted.row.projected_norm
    expected = torch.tensor(plain.row.output).double() @ weight[:, 16:24].T
    assert plain.row.projected_norm == pytest.approx(float(expected.norm()))


@pytest.mark.parametrize("constant", [torch.finfo(torch.float32).min, -1e9, -1e3])
def test_a_mask_constant_hides_beside_visible_keys(constant):
    inputs = make_call(queries=7, dtype=torch.float32)
    hidden = torch.ones(7, 7).triu(1).bool()
    inputs = replace(inputs, rules=replace(inputs.rules, bias=torch.zeros(1, 1, 7, 7).masked_fill(hidden, constant)))
    told = tell(inputs, 1, 2, 4, 6)
    assert (told.row.visible, told.row.outweighed) == (5, 2)
    (of_row,), (of_key,) = told.row.causes, told.cell.hidden_by
    assert (of_row.kind, of_row.count, of_key.kind) == ("mask constant", 2, "mask constant")
    assert of_key.sentence == f"bias: it is {constant:.6g} at key 6, a mask constant: practically hidden"
    assert (told.cell.is_visible, told.cell.is_outweighed) == (False, True)
    assert told.row.biased.least > constant / 2
    assert [words.stage for words in told.words] == ["scores", "scale", "bias", "mask", "softmax", "mix"]
    assert [one.code for one in told.findings] == []
    assert tell(inputs, 1, 2, 4, 4).cell.is_visible
    close(told.cell.weight, textbook.attend(inputs.to(torch.device("cpu"), torch.float64)).weights[1, 2, 4, 6])


def test_a_mask_constant_at_every_visible_key_hides_none():
    """Added to all logits of a row it cancels out."""
    bias = torch.full((1, 1, 5, 7), -1e9).double()
    bias[..., 5:] = -torch.inf
    told = tell(make_call(bias=bias), key=3)
    assert (told.row.visible, told.row.outweighed, told.cell.is_visible) == (5, 0, True)
    assert [one.code for one in told.findings] == ["ATTN003"]
    assert "the mask constant -1e+09 is added to every logit" in told.findings[0].message


def test_position_biases_are_no_mask_constants():
    distances = -torch.arange(7).double()[None, None, None] * 1e3
    assert tell(make_call(bias=distances), key=6).cell.is_visible


def test_a_nan_behind_a_mask_constant_is_named():
    """What is added hides no NaN."""
    bias = torch.zeros(1, 1, 1, 7).double()
    bias[..., 6] = -1e9
    inputs = make_call(bias=bias)
    inputs.k[0, 0, 6, 2] = torch.nan
    found = {one.code: one for one in tell(inputs).findings}
    assert found["ATTN001"].place.key == 6


def test_one_feature_is_one():
    inputs = make_call(features=1)
    assert "of 1 feature grow" in tell(inputs).words[1].sentence
