"""ATTN010: finite constants that leave weight on hidden keys, against the textbook's weights."""

from dataclasses import replace

import pytest
import torch

from attn_cli.attention import textbook
from attn_cli.attention.selection import Selection
from attn_cli.checks.rules.leak import FiniteConstant
from attn_cli.inspection.types import Place
from tests.checks.cases import case, changed, evidence, finding, findings
from tests.checks.healthy import additive

CHECK = FiniteConstant()
LENGTHS = torch.tensor([8, 5])
PADDED = (torch.arange(8) < LENGTHS[:, None])[:, None, None]


def weight_on_padding(call):
    """``(B, Hq, Sq)``, by the textbook, in float64."""
    seen = evidence(call, dtype="float64")
    return (textbook.attend(seen.inputs).weights * ~PADDED).sum(dim=-1)


@pytest.mark.parametrize("sinks", [None, torch.tensor([2.0, 0.0, -1.0])])
@pytest.mark.parametrize(("value", "severity"), [(-2.0, "error"), (-5.0, "error"), (-11.0, "warning")])
def test_a_mask_value_that_is_too_small(value, severity, sinks):
    call = case(valid_lens=LENGTHS, value=value, sinks=sinks)
    shares, found = weight_on_padding(call), finding(CHECK, call)
    batch, head, query = (int(n) for n in torch.unravel_index(shares.argmax(), shares.shape))
    largest = float(shares.max())
    assert (found.code, found.severity, found.count) == ("ATTN010", severity, int((shares > 1e-6).sum()))
    assert found.place == Place(batch=batch, head=head, query=query)
    assert f"the mask value {value:g} leaves weight" in found.message
    assert (f"{largest:.2%}" if severity == "error" else f"{largest:.1e}") in found.message


@pytest.mark.parametrize("value", [-100.0, -1e6])
def test_a_mask_value_far_below_the_logits_hides(value):
    assert findings(CHECK, case(valid_lens=LENGTHS, value=value)) == ()
    assert findings(CHECK, case(bias=additive(PADDED, value))) == ()


def test_a_row_without_a_visible_key_is_another_rules():
    assert findings(CHECK, case(valid_lens=torch.tensor([8, 0]), value=-1e6)) == ()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_an_additive_constant_beside_logits_of_its_size(dtype):
    call = case(bias=additive(PADDED, -1e4, dtype), scale=0.25, dtype=dtype)
    q, k = call.inputs.q.clone(), call.inputs.k.clone()
    q[1, 2, 3], k[1, 2, 6] = 60.0, 60.0  # logit 0.25 · 16 · 3600 = 14400
    call = changed(call, q=q, k=k)
    found = finding(CHECK, call)
    shares = weight_on_padding(call)
    assert float(shares[1, 2, 3]) > 0.99
    assert (found.severity, found.place) == ("error", Place("bias", batch=1, head=2, query=3))
    assert found.count == int((shares > 1e-6).sum())
    assert "the bias's -10000 leaves weight on the keys that it hides: up to 100.00%" in found.message
    part = Selection(batch=(1,), heads=(2,), queries=(1, 3))
    assert finding(CHECK, replace(call, selection=part)).place == found.place


def test_a_weak_constant_of_a_bias():
    call = case(bias=additive(PADDED, -10.0))
    shares, found = weight_on_padding(call), finding(CHECK, call)
    batch, head, query = (int(n) for n in torch.unravel_index(shares.argmax(), shares.shape))
    assert found.place == Place("bias", batch=batch, head=head, query=query)
    assert found.count == int((shares > 1e-6).sum())


@pytest.mark.parametrize("bias", [torch.randn(1, 1, 8, 8) * 3, -torch.rand(1, 3, 8, 8) * 9, additive(PADDED, -3.0)])
def test_biases_that_are_no_mask(bias):
    assert findings(CHECK, case(bias=bias)) == ()


def test_rows_that_a_finite_constant_hides_wholly():
    bias = additive(torch.ones(2, 1, 8, 8, dtype=torch.bool), -1e9)
    bias[1, 0, 5] = bias[1, 0, 6] = -1e9
    found = finding(CHECK, case(bias=bias))
    assert (found.severity, found.count, found.place) == ("info", 2, Place("bias", batch=1, query=5))
    assert "the bias's -1e+09 hides every key of 2 query rows" in found.message
    assert "-inf" not in found.message
    assert "in float16 it would be -inf" in finding(CHECK, case(bias=bias, dtype=torch.float16)).message


def test_two_masks_whose_sum_overflows():
    """−1e38·… twice is −∞ where the masks overlap: the row goes to the keys that only one of them hides."""
    lowest = torch.finfo(torch.float32).min
    bias = additive(PADDED, lowest) + additive(torch.ones(8, 8).tril().bool()[None, None], lowest)
    bias[1, 0, 0] = lowest
    bias[1, 0, 0, 5:] = -torch.inf
    found = finding(CHECK, case(bias=bias))
    assert (found.severity, found.count, found.place) == ("info", 1, Place("bias", batch=1, query=0))


def test_rows_of_minus_infinity_are_another_rules():
    bias = torch.zeros(1, 1, 8, 8)
    bias[0, 0, 2] = -torch.inf
    assert findings(CHECK, case(bias=bias)) == ()
