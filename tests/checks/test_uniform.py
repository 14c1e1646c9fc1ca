"""ATTN016: heads that give every visible key the same weight, and why."""

import pytest
import torch

from attn_cli.checks.rules.uniform import Uniform
from tests.checks.cases import case, changed, finding, findings


def with_head(name, head, value, **options):
    call = case(**options)
    x = getattr(call.inputs, name).clone()
    x[:, head] = value
    return changed(call, **{name: x})


@pytest.mark.parametrize(("name", "value", "cause"), [("k", 1.0, "all keys are the same vector"), ("q", 0.0, "q is 0")])
def test_the_head_and_its_cause_are_named(name, value, cause):
    found = finding(Uniform(), with_head(name, 1, value))
    assert (found.code, found.severity, found.count) == ("ATTN016", "info", 2)
    assert (found.place.batch, found.place.head) == (0, 1)
    assert "2 of 6 heads in 2 batch items" in found.message
    assert cause in found.message


def test_a_scale_of_0_makes_every_head_uniform():
    found = finding(Uniform(), case(scale=0.0, causal=True))
    assert found.count == 6
    assert "the scale is 0" in found.message


def test_logits_that_hardly_differ_are_uniform_and_small_ones_are_not():
    call = case(queries=16, keys=16)
    assert "nearly the same" in finding(Uniform(), changed(call, q=call.inputs.q * 0.02)).message
    assert findings(Uniform(), changed(call, q=call.inputs.q * 0.2)) == ()


@pytest.mark.parametrize("mask", [{"bias": -torch.rand(1, 3, 8, 8)}, {"softcap": 2.0}, {"causal": True}])
def test_random_heads_are_not_uniform(mask):
    assert findings(Uniform(), case(**mask)) == ()


def test_a_bias_that_tells_keys_apart_counts_and_a_mask_constant_does_not():
    alibi = -torch.arange(8.0)[None, None, None].expand(1, 1, 8, 8)
    assert findings(Uniform(), case(scale=0.0, bias=alibi)) == ()
    hiding = torch.where(torch.arange(8) < 6, 0.0, -1e9).expand(1, 1, 8, 8)
    assert finding(Uniform(), case(scale=0.0, bias=hiding)).count == 6


def test_rows_with_one_visible_key_say_nothing():
    assert findings(Uniform(), case(valid_lens=torch.tensor([1, 0]))) == ()
    assert findings(Uniform(), case(window=(0, 0))) == ()


def test_a_broken_head_is_not_uniform():
    assert findings(Uniform(), with_head("k", 1, torch.nan)) == ()


@pytest.mark.parametrize("keys", [3, 6])
def test_few_choices_show_no_uniform_head(keys):
    found = findings(Uniform(), with_head("k", 1, 1.0, batch=1, queries=1, keys=keys))
    assert [one.count for one in found] == ([1] if keys - 1 >= 4 else [])


def test_a_head_of_one_dimension_is_uniform_where_its_logits_do_not_differ_at_all():
    call = case(queries=1, dim=1, heads=2)
    assert findings(Uniform(), changed(call, q=call.inputs.q.sign() * 0.02)) == ()
    assert finding(Uniform(), changed(call, q=torch.zeros_like(call.inputs.q))).count == 4
