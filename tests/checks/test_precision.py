"""ATTN019: what no dtype excuses, and what it does."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attn_cli.checks.evidence import Evidence
from attn_cli.checks.rules.precision import Precision
from tests.checks.cases import case, changed, evidence, finding, findings

HALVES = ["bfloat16", "float16"]


def returned(call, output, **options):
    """What the rule finds where the kernel returned this output."""
    seen = evidence(call, **options)
    return tuple(Precision().find(Evidence(call, replace(seen.examined, output=output(seen.examined.output)))))


@settings(deadline=None, max_examples=40)
@given(
    st.sampled_from(["float32", *HALVES]),
    st.sampled_from(["sdpa", "math", "textbook"]),
    st.integers(0, 99),
    st.sampled_from([4, 16, 64]),
    st.sampled_from([1, 8, 200]),
    st.booleans(),
)
def test_roundings_are_no_finding(dtype, backend, seed, dim, keys, is_stored_so):
    stored = getattr(torch, dtype) if is_stored_so else torch.float32
    call = case(seed=seed, dim=dim, keys=keys, causal=True, dtype=stored)
    assert findings(Precision(), call, dtype=dtype, backend=backend) == ()


@settings(deadline=None, max_examples=30)
@given(
    st.integers(0, 1), st.integers(0, 2), st.integers(0, 7), st.integers(0, 15), st.sampled_from(["float32", "float16"])
)
def test_a_value_that_is_off_is_named(batch, head, query, feature, dtype):
    def spoiled(output):
        output = output.clone()
        output[batch, head, query, feature] += 0.25
        return output

    (found,) = returned(case(), spoiled, dtype=dtype)
    assert (found.code, found.severity, found.count) == ("ATTN019", "warning", 1)
    place = found.place
    assert (place.tensor, place.batch, place.head, place.query, place.feature) == (
        "output",
        batch,
        head,
        query,
        feature,
    )
    assert "off by 0.2" in found.message
    assert "in 1 of 6 heads in 2 batch items" in found.message


@pytest.mark.parametrize(("dtype", "keys"), [("bfloat16", 512), ("float16", 4096)])
def test_a_kernel_that_adds_up_in_half_precision_is_found(dtype, keys):
    """Values of one sign: each addition is rounded to the sum's own steps, until nothing is added any more."""
    call = case(batch=1, heads=1, queries=2, keys=keys, scale=0.0)
    call = changed(call, v=call.inputs.v.abs())

    def low(output):
        v, total = call.inputs.v[0, 0].to(output.dtype), torch.zeros(16, dtype=output.dtype)
        for value in v:
            total = total + value / keys
        return total.expand_as(output)

    (found,) = returned(call, low, dtype=dtype)
    assert "adds up in lower precision" in found.hint


def test_large_logits_in_half_precision_are_told_as_the_cause():
    call = case(dim=64, queries=32, keys=32, dtype=torch.bfloat16)
    call = changed(call, q=call.inputs.q * 60)
    found = finding(Precision(), call, backend="textbook")
    assert "largest logit is" in found.message
    assert "bfloat16 has steps of" in found.message
    assert "Keep the logits small" in found.hint


def test_large_logits_that_a_kernel_keeps_in_float32_are_nothing():
    call = case(dim=64, queries=32, keys=32, dtype=torch.bfloat16)
    assert findings(Precision(), changed(call, q=call.inputs.q * 60), backend="math") == ()


def test_float64_is_the_measure_itself():
    assert findings(Precision(), case(dtype=torch.float64)) == ()


def test_what_is_not_finite_is_told_by_others():
    call = case()
    call.inputs.q[0, 1, 2, 3] = torch.nan
    assert findings(Precision(), call) == ()
    assert returned(case(), lambda output: output * torch.nan) == ()


def test_a_sample_of_the_rows_is_said():
    call = case(batch=1, heads=1, queries=600)
    (found,) = returned(call, lambda output: output + 1)
    assert "256 evenly spaced query rows" in found.message
