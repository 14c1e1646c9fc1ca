"""ATTN018: two heads with the same weights."""

import pytest
import torch

from attn_cli.checks.rules import duplicates
from attn_cli.checks.rules.duplicates import Duplicates
from attn_cli.inspection.inspector import inspect
from attn_cli.inspection.options import InspectOptions
from tests.checks.cases import case, changed, evidence, finding, findings


def with_copy(one=1, other=3, noise=0.0, **options):
    call = case(heads=5, **options)
    q, k = call.inputs.q.clone(), call.inputs.k.clone()
    q[:, other] = q[:, one] + noise * q[:, other]
    k[:, other] = k[:, one]
    return changed(call, q=q, k=k)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("mask", [{}, {"causal": True}, {"valid_lens": torch.tensor([8, 5])}])
def test_a_copied_head_is_named_with_its_original(dtype, mask):
    found = finding(Duplicates(), with_copy(**mask), dtype=dtype)
    assert (found.code, found.severity, found.count, found.place.head) == ("ATTN018", "info", 1, 1)
    assert "heads 1 and 3 give every key the same weight" in found.message


def test_a_similar_head_is_healthy():
    assert findings(Duplicates(), with_copy(noise=0.2)) == ()


def test_several_copies_are_counted_in_pairs():
    call = case(heads=4)
    q, k = (x[:, :1].expand_as(x) for x in (call.inputs.q, call.inputs.k))
    found = finding(Duplicates(), changed(call, q=q, k=k))
    assert found.count == 6
    assert "so do 5 other pairs" in found.message


def test_a_long_call_is_compared_in_few_rows(monkeypatch):
    monkeypatch.setattr(duplicates, "WEIGHTS_AT_ONCE", 2 * 5 * 40 * 3)
    found = finding(Duplicates(), with_copy(queries=30, keys=40))
    assert "the 3 rows compared" in found.message


def test_uniform_and_focused_heads_are_no_copies():
    assert findings(Duplicates(), case(scale=0.0)) == ()
    call = case()
    assert findings(Duplicates(), changed(call, q=torch.full_like(call.inputs.q, 90.0), k=call.inputs.k.abs())) == ()


def test_heads_that_differ_in_one_batch_item_alone_are_no_copies():
    call = with_copy()
    call.inputs.q[1, 3] = case(seed=9).inputs.q[1, 2]
    assert findings(Duplicates(), call) == ()


def test_one_head_and_broken_heads_are_not_compared():
    assert findings(Duplicates(), case(heads=1)) == ()
    call = with_copy()
    call.inputs.q[0, 1, 2, 3] = torch.nan
    assert findings(Duplicates(), call) == ()


def test_the_divergence_is_the_one_that_is_inspected():
    seen = evidence(case(heads=4, kv_heads=2, causal=True, queries=6, keys=9, sinks=torch.tensor([0.0, 1, 2, -1])))
    ours = duplicates._divergence(seen, (0, 1, 2, 3), tuple(range(6)))
    theirs = inspect(seen.inputs, InspectOptions(similarity=True)).similarity.mean(dim=0)
    torch.testing.assert_close(ours.triu(1), theirs.triu(1), atol=1e-6, rtol=0)


def test_heads_that_look_at_one_key_alone_are_no_copies():
    call = case(heads=4)
    k = call.inputs.k.clone()
    k[:, :, 0] += 30
    assert findings(Duplicates(), changed(call, q=call.inputs.q.abs() + 1, k=k)) == ()


@pytest.mark.parametrize("keys", [4, 12])
def test_few_choices_show_no_copy(keys):
    found = findings(Duplicates(), with_copy(batch=1, queries=2, keys=keys))
    assert [one.count for one in found] == ([1] if 2 * (keys - 1) >= 16 else [])
