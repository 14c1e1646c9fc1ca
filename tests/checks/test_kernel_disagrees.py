"""ATTN005: a kernel that hides a fault is named, with what it returned."""

import math

import pytest
import torch
from torch.nn import functional as F

from attn_cli.checks import CHECKS
from attn_cli.checks.runner import check_call
from attn_cli.pipeline import RunOptions
from tests.checks.cases import case, evidence


def codes(call, **options):
    checked = check_call(call, CHECKS, RunOptions(device="cpu", **options))
    return {finding.code: finding for finding in checked.findings}


@pytest.mark.parametrize("keys", [4, 15, 16, 40])
def test_pytorchs_cpu_kernel_is_told_whatever_it_does_with_a_nan(keys):
    """PyTorch 2.13 returns 0 for a query row with a NaN beside fewer keys than a vector holds, and NaN beside more."""
    call = case(keys=keys)
    call.inputs.q[1, 2, 3, 4] = math.nan
    row = F.scaled_dot_product_attention(call.inputs.q, call.inputs.k, call.inputs.v)[1, 2, 3]
    found = codes(call, backend="flash")
    if not bool(row.isfinite().any()):
        assert set(found) == {"ATTN001", "ATTN002"}
        return
    assert set(found) == {"ATTN001", "ATTN002", "ATTN005"}
    hides = found["ATTN005"]
    assert (hides.severity, hides.place.batch, hides.place.head, hides.place.query) == ("error", 1, 2, 3)
    assert f"flash returns {float(row[0]):.6g} where the inspected weights times V are NaN" in hides.message
    assert "hides a fault" in hides.hint


def test_the_math_kernel_hides_nothing():
    call = case(keys=4)
    call.inputs.q[1, 2, 3, 4] = math.nan
    assert set(codes(call, backend="math")) == {"ATTN001", "ATTN002"}


def test_this_pytorch_is_known():
    """Where this fails, the example of ATTN005 and the documentation speak of an older PyTorch."""
    if torch.__version__.split("+")[0] != "2.13.0":
        pytest.skip("measured on PyTorch 2.13.0")
    call = case(keys=3)  # fewer than a vector register of any processor holds
    call.inputs.q[0, 0, 0, 0] = math.nan
    output = evidence(call, backend="flash").examined.output
    assert bool((output[0, 0, 0] == 0).all())
