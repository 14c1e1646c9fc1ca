"""ATTN007: the stage, the cell and the dtype in which logits overflow."""

import pytest
import torch

from attn_cli.checks.rules import overflow
from attn_cli.checks.rules.overflow import Overflow
from tests.checks.cases import case, changed, finding, findings

HALF_LIMIT = 65504


def with_product(size, dtype=torch.float16, dim=16, scale=None, **options):
    """A call in which the query 3 and the key 5 of head 1 have a product of this size, and no others a large one."""
    call = case(dim=dim, dtype=torch.float64, scale=scale, **options)
    q, k = call.inputs.q.clone(), call.inputs.k.clone()
    q[1, 1, 3], k[1, 1, 5] = 0, 0
    q[1, 1, 3, 0] = k[1, 1, 5, 0] = abs(size) ** 0.5
    k[1, 1, 5, 0] *= 1 if size > 0 else -1
    return changed(call, q=q.to(dtype), k=k.to(dtype), v=call.inputs.v.to(dtype))


@pytest.mark.parametrize(("size", "severity"), [(80_000, "error"), (-80_000, "warning")])
def test_a_product_beyond_float16_is_named_with_its_cell(size, severity):
    """−∞ takes a weight of next to nothing away; +∞ makes the row NaN."""
    found = finding(Overflow(), with_product(size))
    assert (found.code, found.severity, found.count) == ("ATTN007", severity, 1)
    assert (found.place.batch, found.place.head, found.place.query, found.place.key) == (1, 1, 3, 5)
    assert f"q·k reaches {'' if size > 0 else '-'}7.995e+04" in found.message
    assert "float16 ends at ±65504" in found.message
    assert "keeps q·k in float32" in found.message


def test_a_product_near_the_limit_is_a_warning():
    found = finding(Overflow(), with_product(0.6 * HALF_LIMIT))
    assert (found.severity, found.count) == ("warning", None)
    assert found.place.key == 5
    assert "60% of what float16 can hold" in found.message


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_other_dtypes_hold_it(dtype):
    assert findings(Overflow(), with_product(80_000, dtype)) == ()


def test_far_below_the_limit_is_nothing():
    assert findings(Overflow(), with_product(0.4 * HALF_LIMIT)) == ()


def test_a_hidden_cell_does_not_count():
    lens = torch.tensor([8, 5])  # key 5 of batch item 1 is hidden
    assert findings(Overflow(), with_product(80_000, valid_lens=lens)) == ()


def test_float32_overflows_too():
    found = finding(Overflow(), with_product(1e39, torch.float32))
    assert found.severity == "error"
    assert "float32 ends at ±3.4" in found.message


def test_the_file_is_float16_and_the_kernel_ran_in_float32():
    found = finding(Overflow(), with_product(80_000), dtype="float32")
    assert found.severity == "warning"
    assert "float16, the dtype of the file," in found.message


def test_a_scale_can_overflow_what_q_k_does_not():
    found = finding(Overflow(), with_product(40_000, scale=4.0))
    assert found.severity == "error"
    assert "the scaled logit reaches 1.6e+05" in found.message


def test_a_bias_can_overflow_and_a_mask_constant_cannot():
    bias = torch.zeros(1, 1, 8, 8)
    bias[..., 2, 4] = 60_000
    found = finding(Overflow(), with_product(20_000, bias=bias))
    assert found.severity == "warning"  # 60 000 is near the limit
    assert (found.place.query, found.place.key) == (2, 4)
    assert "with its bias" in found.message
    assert findings(Overflow(), with_product(20_000, bias=-bias)) == ()


def test_bad_numbers_in_the_inputs_are_no_overflow():
    call = with_product(100)
    call.inputs.q[0, 0, 0, 0] = torch.inf
    call.inputs.k[0, 1, 2, 3] = torch.nan
    assert findings(Overflow(), call) == ()


@pytest.mark.parametrize("constant", [-1e9, torch.finfo(torch.float32).min])
def test_a_mask_constant_asks_for_no_second_pass(constant, monkeypatch):
    def measure(*_):
        raise AssertionError("the logits are computed again")

    monkeypatch.setattr(overflow, "_measure", measure)
    bias = torch.zeros(1, 1, 8, 8).masked_fill(torch.ones(8, 8).triu(1).bool(), constant)
    assert findings(Overflow(), case(bias=bias)) == ()
