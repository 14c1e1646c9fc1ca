"""The inspected output against the kernel's."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from attn_cli.attention.textbook import share_key_value_heads
from attn_cli.attention.types import CallIndex
from attn_cli.inspection import verification
from attn_cli.inspection.inspector import inspect
from attn_cli.inspection.types import Place
from attn_cli.inspection.verification import verification_finding, verify
from tests.attention.calls import make_call

INDEX = CallIndex.whole(2, 3, 4)
SHAPE = (2, 3, 4, 5)


@settings(deadline=None, max_examples=40)
@given(st.tuples(*(st.integers(0, size - 1) for size in SHAPE)), st.floats(0.1, 10), st.booleans())
def test_the_largest_difference_is_found_with_its_place(place, error, small_blocks):
    ours = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))
    theirs = ours.clone()
    theirs[place] += error
    theirs[0, 0, 0, 0] += 0.01
    with pytest.MonkeyPatch.context() as patch:
        if small_blocks:
            patch.setattr(verification, "VALUES_AT_ONCE", 1)
        found = verify(ours, theirs, "flash", torch.float32, INDEX)
    assert found.max_abs_error == pytest.approx(float((ours.double() - theirs.double()).abs().max()))
    assert found.place == Place(None, *place[:3], feature=place[3])
    assert found.disagreements == 0
    finding = verification_finding(found)
    assert (finding.code, finding.severity) == ("ATTN005", "warning")
    assert "flash" in finding.message


@settings(deadline=None, max_examples=40)
@given(st.tuples(*(st.integers(0, size - 1) for size in SHAPE)), st.booleans(), st.sampled_from([math.nan, math.inf]))
def test_what_only_one_of_the_two_has_finite_is_an_error(place, in_ours, value):
    ours = torch.ones(SHAPE)
    theirs = ours.clone()
    (ours if in_ours else theirs)[place] = value
    found = verify(ours, theirs, "flash", torch.float32, INDEX)
    assert found.disagreements == 1
    assert found.max_abs_error == 0
    assert found.place == Place(None, *place[:3], feature=place[3])
    finding = verification_finding(found)
    assert (finding.severity, finding.count) == ("error", 1)
    word = "NaN" if math.isnan(value) else "+∞"
    assert f"flash returns {'1' if in_ours else word} where" in finding.message
    assert f"are {word if in_ours else '1'};" in finding.message


def test_equal_outputs_and_equally_broken_ones_agree():
    ours = torch.ones(SHAPE)
    ours[1, 2, 3] = math.nan
    found = verify(ours, ours.clone(), "math", torch.float32, INDEX)
    assert (found.max_abs_error, found.disagreements) == (0, 0)
    assert verification_finding(found) is None
    nothing = verify(ours * math.nan, ours * math.nan, "math", torch.float32, INDEX)
    assert math.isnan(nothing.max_abs_error)
    assert nothing.place == Place()
    assert verification_finding(nothing) is None


def test_places_are_those_of_the_whole_call():
    index = CallIndex((4, 5), (7, 8, 9), torch.tensor([10, 20, 30, 40]), 6, 12, 50)
    theirs = torch.zeros(SHAPE)
    theirs[1, 2, 3, 0] = 1
    assert verify(torch.zeros(SHAPE), theirs, "math", torch.float32, index).place == Place(None, 5, 9, 40, feature=0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("keys", [7, 300])
@pytest.mark.parametrize("scale", [None, 3.0])
def test_pytorchs_own_kernel_is_within_the_tolerance(dtype, keys, scale):
    call = make_call(queries=40, keys=keys, features=32, dtype=dtype, scale=scale)
    kernel = F.scaled_dot_product_attention(call.q, call.k, call.v, scale=scale)
    found = verify(inspect(call).output, kernel, "sdpa", dtype, call.index)
    assert verification_finding(found) is None
    assert found.tolerance < 0.1 * float(kernel.abs().max())


def test_a_kernel_that_cleans_nan_away_is_caught():
    """On the CPU, PyTorch's fused kernel returns 0 for a query of NaN among fewer keys than a vector holds."""
    call = make_call(dtype=torch.float32, keys=7)
    call.q[1, 2, 3] = math.nan
    ours = inspect(call).output
    kernel = F.scaled_dot_product_attention(call.q, call.k, call.v)
    kernel[1, 2, 3] = 0  # whatever this release of PyTorch does
    finding = verification_finding(verify(ours, kernel, "flash", torch.float32, call.index))
    assert finding.severity == "error"
    assert finding.place == Place(None, 1, 2, 3, feature=0)
    assert finding.count == 8
    assert "flash returns 0 where the inspected weights times V are NaN; 8 output values" in finding.message


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_rows_of_mask_constants_alone_are_no_difference(dtype):
    """A kernel that rounds logit + constant to its dtype gives such rows the mean of V; float32 keeps the logits."""
    call = make_call(dtype=dtype, keys=7, queries=7)
    bias = torch.zeros(1, 1, 7, 7, dtype=dtype)
    bias[..., 2, :] = -1e4
    call = replace(call, rules=replace(call.rules, bias=bias))
    ours = inspect(call).output
    kernel = ours.clone()
    kernel[:, :, 2] = share_key_value_heads(call.v, call.q.shape[1]).float().mean(dim=2)
    told = verify(ours, kernel, "sdpa", dtype, call.index, call.rules)
    assert verification_finding(verify(ours, kernel, "sdpa", dtype, call.index)).severity == "warning"
    assert verification_finding(told) is None
    assert told.max_abs_error == 0
    kernel[0, 1, 3, 4] += 1
    place = verification_finding(verify(ours, kernel, "sdpa", dtype, call.index, call.rules)).place
    assert place == Place(None, 0, 1, 3, feature=4)
