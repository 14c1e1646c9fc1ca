"""Weights one by one: those of the textbook in every window, whatever hides keys, and nothing else changes."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attn_cli.attention import textbook
from attn_cli.attention.selection import Selection, select
from attn_cli.inspection import windows as windows_module
from attn_cli.inspection.inspector import inspect
from attn_cli.inspection.options import DetailOptions, InspectOptions, Zoom
from tests.attention.calls import make_call
from tests.inspection.cases import cases
from tests.inspection.strategies import broken_calls, calls
from tests.inspection.test_zoom import selected

CASES = cases()
WINDOWS = DetailOptions(64, 64, pairs=2, side=3, corners=True, strongest_row=True)
WHOLE = DetailOptions(64, 64, whole=True)


def visible_of(call, steps):
    visible = torch.ones_like(steps.weights, dtype=torch.bool) if steps.keep is None else steps.keep
    if call.rules.bias is not None:
        visible = visible & (call.rules.bias != -torch.inf)
    return visible.expand_as(steps.weights)


def assert_exact(call, options):
    """Every window has the textbook's numbers; its logits are those of the textbook where the weight has digits."""
    inspection, steps = inspect(call, options), textbook.attend(call)
    visible = visible_of(call, steps)
    for b, of_item in enumerate(inspection.detail.windows):
        for h, of_head in enumerate(of_item):
            for window in of_head:
                rows = slice(window.first_row, window.first_row + window.weights.shape[0])
                keys = slice(window.first_key, window.first_key + window.weights.shape[1])
                expected = steps.weights[b, h, rows, keys]
                torch.testing.assert_close(
                    window.weights.double(), expected.double(), rtol=1e-6, atol=1e-9, equal_nan=True
                )
                assert torch.equal(window.visible, visible[b, h, rows, keys])
                assert (window.sink is None) == (steps.sink is None)
                if window.sink is not None:
                    torch.testing.assert_close(
                        window.sink, steps.sink[b, h, rows], rtol=1e-6, atol=1e-9, equal_nan=True
                    )
                logits = window.weights.log() + window.log_total[:, None]
                told = window.weights > 1e-30
                torch.testing.assert_close(logits[told], steps.masked[b, h, rows, keys][told], rtol=1e-6, atol=1e-6)
    return inspection


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("wanted", [WHOLE, WINDOWS], ids=["whole", "windows"])
def test_every_kind_of_call_gives_the_textbooks_weights(name, wanted):
    assert_exact(CASES[name], InspectOptions(detail=wanted))


@settings(deadline=None, max_examples=60)
@given(selected(calls() | broken_calls()), st.sampled_from([WHOLE, WINDOWS]), st.integers(1, 40))
def test_any_part_of_any_call_gives_the_textbooks_weights(call, wanted, scores_at_once):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(windows_module, "SCORES_AT_ONCE", scores_at_once)
        assert_exact(call, InspectOptions(detail=wanted))


@settings(deadline=None, max_examples=40)
@given(selected(calls()), st.integers(0, 3), st.integers(1, 9))
def test_the_strongest_pairs_lie_in_their_windows(call, pairs, side):
    wanted = DetailOptions(64, 64, pairs=pairs, side=side, strongest_row=True)
    inspection = inspect(call, InspectOptions(top=3, detail=wanted))
    rows, (*_, keys) = call.index.queries.tolist(), call.weights_shape
    for b, of_item in enumerate(inspection.detail.windows):
        for h, of_head in enumerate(of_item):
            found = zip(*(x[b, h].tolist() for x in (inspection.top.query, inspection.top.key)), strict=True)
            visible = [(rows.index(query), key) for query, key in found if query >= 0]
            for row, key in visible[:pairs]:
                assert any(
                    0 <= row - one.first_row < one.weights.shape[0] and 0 <= key - one.first_key < one.weights.shape[1]
                    for one in of_head
                )
            assert all(max(one.weights.shape) <= side for one in of_head if one.kind == "pair")
            if visible:
                assert any(
                    one.first_row <= visible[0][0] < one.first_row + one.weights.shape[0]
                    and one.weights.shape[1] == keys
                    for one in of_head
                )


def test_windows_stand_at_the_corners_and_around_the_pair():
    call = make_call(1, 1, queries=40, keys=50, features=2, scale=0.0)
    call.q[:], call.k[:] = 0.0, 0.0
    call.q[0, 0, 20, 0] = call.k[0, 0, 30, 0] = 5.0
    call = replace(call, rules=replace(call.rules, scale=1.0))
    wanted = DetailOptions(64, 64, pairs=1, side=4, corners=True, strongest_row=True)
    (((pair, first, last, row),),) = inspect(call, InspectOptions(top=1, detail=wanted)).detail.windows
    places = [(one.kind, one.first_row, one.first_key, tuple(one.weights.shape)) for one in (pair, first, last, row)]
    assert places == [
        ("pair", 18, 28, (4, 4)), ("first", 0, 0, (4, 4)), ("last", 36, 46, (4, 4)), ("row", 20, 0, (1, 50)),
    ]  # fmt: skip


def test_a_row_that_sees_nothing_has_an_empty_denominator():
    call = make_call(valid_lens=torch.tensor([3, 0]))
    detail = inspect(call, InspectOptions(detail=WHOLE)).detail
    window = detail.windows[1][0][0]
    assert not window.weights.any()
    assert not window.visible.any()
    assert window.log_total.tolist() == [-torch.inf] * 5


def test_hidden_keys_have_the_weight_that_a_finite_mask_value_gives_them():
    call = make_call(valid_lens=torch.tensor([3, 0]), value=-1e6)
    window = inspect(call, InspectOptions(detail=WHOLE)).detail.windows[1][2][0]
    assert window.weights.flatten().tolist() == pytest.approx([1 / 7] * 35)
    assert not window.visible.any()


@settings(deadline=None, max_examples=30)
@given(selected(calls()), st.sampled_from([WHOLE, WINDOWS]))
def test_details_change_nothing_else(call, wanted):
    plain, asked = (inspect(call, InspectOptions(detail=detail)) for detail in (None, wanted))
    assert plain.detail is None
    assert asked.labels == plain.labels
    assert asked.findings == plain.findings
    assert torch.equal(asked.pictures.weights, plain.pictures.weights)
    for name, values in plain.metrics.items():
        torch.testing.assert_close(asked.metrics[name], values, rtol=0, atol=0, equal_nan=True)


def test_the_whole_picture_is_there_beside_a_zoom():
    call = make_call(queries=8, keys=8)
    inspection = inspect(call, InspectOptions(zoom=Zoom(0, 2, 0, 3), detail=WHOLE))
    assert inspection.pictures.weights.shape == (2, 4, 2, 3)
    assert inspection.detail.pictures.weights.shape == (2, 4, 8, 8)


def test_kept_weights_are_given_as_they_are():
    call = select(make_call(kv_heads=2, dtype=torch.float32, causal=True), Selection(queries=(4, 1)))
    inspection = inspect(call, InspectOptions(weights=True, detail=WHOLE))
    for b, of_item in enumerate(inspection.detail.windows):
        for h, (window,) in enumerate(of_item):
            assert torch.equal(window.weights, inspection.weights[b, h])


@pytest.mark.parametrize("whole", [True, False])
def test_what_is_given_one_by_one_is_what_all_weights_are_to_the_last_bit(whole):
    call = make_call(1, 3, queries=90, keys=130, seed=4)
    detail = DetailOptions(20, 20, whole=whole, pairs=2, side=8, corners=True, strongest_row=True)
    found = inspect(call, InspectOptions(top=4, picture_rows=20, picture_columns=20, detail=detail))
    every = inspect(call, InspectOptions(weights=True)).weights[0]
    assert found.weights is None
    for head, windows in enumerate(found.detail.windows[0]):
        for one in windows:
            rows, keys = one.weights.shape
            part = every[head, one.first_row : one.first_row + rows, one.first_key : one.first_key + keys]
            assert torch.equal(one.weights, part)
        pairs = zip(found.top.query[0, head], found.top.key[0, head], found.detail.top.weight[0, head], strict=True)
        for query, key, weight in pairs:
            assert float(weight) == float(every[head, query, key])


def test_a_pair_that_is_asked_for_takes_the_place_of_a_strongest_one():
    call = make_call(1, 2, queries=40, keys=50, seed=4)
    detail = DetailOptions(40, 50, pairs=2, side=8, around=((31, 7), None))
    found = inspect(call, InspectOptions(detail=detail)).detail.windows[0]
    assert [one.kind for one in found[0]] == ["around", "pair"]
    assert [one.kind for one in found[1]] == ["pair", "pair"]
    near = found[0][0]
    assert near.first_row <= 31 < near.first_row + 8
    assert near.first_key <= 7 < near.first_key + 8
