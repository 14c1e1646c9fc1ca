"""ATTN014: a missing and a doubled scale, and what only looks like one."""

import pytest
import torch

from attn_cli.attention.selection import Selection
from attn_cli.checks.rules.scale import Scale
from tests.checks.cases import case, changed, finding, findings


def long(**options):
    return case(queries=24, keys=24, **options)


@pytest.mark.parametrize("dim", [16, 32, 64, 128])
@pytest.mark.parametrize("mask", [{}, {"causal": True}, {"valid_lens": torch.tensor([24, 9])}])
def test_a_scale_of_1_is_missing(dim, mask):
    found = finding(Scale(), long(dim=dim, scale=1.0, **mask))
    assert (found.code, found.severity) == ("ATTN014", "warning")
    assert f"the scale of 1 is {dim**0.5:.3g} times 1/√D = {dim**-0.5:.4g}" in found.message
    assert f"--scale {dim**-0.5:.6g}" in found.hint


@pytest.mark.parametrize("dim", [16, 64, 128])
def test_a_scale_of_one_over_d_is_doubled(dim):
    found = finding(Scale(), long(dim=dim, scale=1 / dim))
    assert f"about 1/D = {1 / dim:.4g}" in found.message
    assert f"--scale {dim**-0.5:.6g}" in found.hint


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("dim", [16, 64, 128])
def test_a_query_that_was_scaled_before_is_doubled(dim, dtype):
    call = long(dim=dim, dtype=dtype)
    found = finding(Scale(), changed(call, q=call.inputs.q * dim**-0.5))
    assert "as if it had been multiplied by 1/√D" in found.message
    assert "--scale 1," in found.hint


def test_a_query_that_was_multiplied_is_told_although_the_scale_is_there():
    call = long(dim=64)
    found = finding(Scale(), changed(call, q=call.inputs.q * 8))
    assert "although they were multiplied by 0.125" in found.message


@pytest.mark.parametrize("dim", [4, 16, 32, 64, 128])
@pytest.mark.parametrize("size", [0.8, 1.0, 1.7])
def test_usual_logits_are_nothing(dim, size):
    call = long(dim=dim)
    assert findings(Scale(), changed(call, q=call.inputs.q * size)) == ()


def test_a_model_trained_without_a_scale_is_nothing():
    """As in T5: the weights of q are small instead."""
    call = long(dim=64, scale=1.0)
    assert findings(Scale(), changed(call, q=call.inputs.q / 8)) == ()


def test_small_logits_of_an_untrained_model_are_nothing():
    call = long(dim=64)
    assert findings(Scale(), changed(call, q=call.inputs.q * 0.5, k=call.inputs.k * 0.5)) == ()


def test_one_strange_head_is_nothing():
    call = case(heads=8, queries=24, keys=24, dim=64)
    q = call.inputs.q.clone()
    q[:, 2] *= 16
    assert findings(Scale(), changed(call, q=q)) == ()


def test_a_scale_of_0_and_equal_keys_are_nothing():
    call = long(dim=64, scale=0.0)
    assert findings(Scale(), call) == ()
    call = long(dim=64)
    assert findings(Scale(), changed(call, k=torch.ones_like(call.inputs.k))) == ()


def test_too_few_logits_say_nothing():
    assert findings(Scale(), case(batch=1, queries=1, keys=4, dim=64, scale=1.0)) == ()


def test_broken_rows_are_left_out():
    call = long(dim=64, scale=1.0)
    call.inputs.q[:, :, 3] = torch.nan
    assert finding(Scale(), call).code == "ATTN014"
    call.inputs.k[...] = torch.nan
    assert findings(Scale(), call) == ()


def test_a_selection_is_measured_alone():
    call = long(dim=64, scale=1.0, selection=Selection(batch=(1,), heads=(2,)))
    assert "median of 1 head)" in finding(Scale(), call).message


@pytest.mark.parametrize("factor", [5, 7])
def test_logits_must_be_several_times_too_large(factor):
    call = long(dim=64)
    assert len(findings(Scale(), changed(call, q=call.inputs.q * factor))) == (factor > 6)


@pytest.mark.parametrize("factor", [0.55, 0.75])
def test_a_large_scale_is_judged_by_the_logits(factor):
    call = long(dim=16, scale=1.0)
    assert len(findings(Scale(), changed(call, q=call.inputs.q * factor))) == (4 * factor > 2.5)


@pytest.mark.parametrize("factor", [2, 5])
def test_without_the_scale_the_logits_would_have_to_be_usual(factor):
    call = long(dim=64, scale=1.0)
    assert len(findings(Scale(), changed(call, q=call.inputs.q * factor))) == (factor < 3)
