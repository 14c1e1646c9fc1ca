"""ATTN017: a head that adds next to nothing, and whether its values are the cause."""

from dataclasses import replace

import pytest
import torch

from attn_cli.attention.selection import Selection
from attn_cli.attention.types import LinearWeights
from attn_cli.checks.rules.inactive import Inactive
from tests.checks.cases import case, changed, finding, findings


def with_values(factor, head=2, **options):
    call = case(heads=6, **options)
    v = call.inputs.v.clone()
    v[:, head] *= factor
    return changed(call, v=v)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_small_values_make_a_head_inactive(dtype):
    found = finding(Inactive(), with_values(0.01, dtype=dtype))
    assert (found.code, found.severity, found.count, found.place.head) == ("ATTN017", "info", 1, 2)
    assert "1 of 6 heads is inactive" in found.message
    assert "its values are small" in found.message


def test_a_head_that_looks_at_a_small_value_alone_is_inactive():
    call = case(heads=6)
    q, k, v = (x.clone() for x in (call.inputs.q, call.inputs.k, call.inputs.v))
    q[:, 4], k[:, 4] = 1.0, -1.0
    k[:, 4, 0] = 3.0
    v[:, 4] *= 0.5  # half of the others is not small yet
    v[:, 4, 0] = 0.0
    found = finding(Inactive(), changed(call, q=q, k=k, v=v))
    assert found.place.head == 4
    assert "its values are not small" in found.message


def test_a_weak_head_is_healthy():
    assert findings(Inactive(), with_values(0.25)) == ()


def test_the_output_projection_decides_where_it_is_known():
    call = case(heads=6, dim=4)
    weight = torch.eye(24)
    weight[:, 12:16] = 0  # head 3
    inputs = replace(call.inputs, output_projection=LinearWeights(weight))
    found = finding(Inactive(), replace(call, inputs=inputs))
    assert found.place.head == 3
    assert "projected output" in found.message


def test_nothing_is_said_of_one_head_or_of_some():
    assert findings(Inactive(), case(heads=1)) == ()
    assert findings(Inactive(), with_values(0.01, selection=Selection(heads=(1, 2, 3)))) == ()


def test_values_of_zero_everywhere():
    call = case()
    found = finding(Inactive(), changed(call, v=torch.zeros_like(call.inputs.v)))
    assert found.message == "the output of all 3 heads is 0"


def test_empty_and_broken_batch_items_are_left_out():
    assert findings(Inactive(), case(valid_lens=torch.tensor([0, 5]))) == ()
    call = with_values(0.01)
    call.inputs.v[0, 0, 0, 0] = torch.nan
    assert finding(Inactive(), call).place.head == 2
    assert findings(Inactive(), changed(call, v=call.inputs.v * torch.nan)) == ()


def test_a_small_output_of_one_number_may_be_chance():
    assert findings(Inactive(), with_values(0.05, dim=1, queries=1)) == ()
    assert finding(Inactive(), with_values(0.0, dim=1, queries=1)).place.head == 2
