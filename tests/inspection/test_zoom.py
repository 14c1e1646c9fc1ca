"""A zoom shows a window of the weights, each cell one weight where it fits, and changes nothing else."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attn_cli.attention import textbook
from attn_cli.attention.selection import Selection, select
from attn_cli.inspection import zoom as zoom_module
from attn_cli.inspection.inspector import inspect
from attn_cli.inspection.options import InspectOptions, Zoom
from tests.attention.calls import make_call
from tests.inspection.cases import cases, coin, drawn
from tests.inspection.strategies import broken_calls, calls
from tests.inspection.test_pictures import pooled

CASES = cases()


@st.composite
def windows(draw, size):
    """A range in 0:size that is not empty, its ends left out now and then."""
    first = draw(st.integers(0, size - 1))
    stop = draw(st.integers(first + 1, size))
    return first, draw(st.sampled_from([stop, None])) if stop == size else stop


@st.composite
def zooms(draw, call):
    """A window of a whole call that shows one of the selected rows at least."""
    *_, keys = call.weights_shape
    queries = call.index.queries.tolist()
    first, stop = draw(windows(call.index.total_queries))
    end = call.index.total_queries if stop is None else stop
    if not any(first <= query < end for query in queries):
        first, stop = min(queries), max(queries) + 1
    first_key, key_stop = draw(windows(keys))
    return Zoom(first, stop, first_key, key_stop)


@st.composite
def selected(draw, source):
    """A call, or some rows of it in any order."""
    call = draw(source)
    rows = draw(st.none() | st.permutations(range(call.q.shape[2])))
    if rows is None:
        return call
    count = draw(st.integers(1, len(rows)))
    return select(call, Selection(queries=tuple(rows[:count])))


def assert_shows(call, options):
    """The picture is the textbook's weights in the window, max-pooled by its own pools."""
    picture, steps = inspect(call, options).pictures, textbook.attend(call)
    zoom = options.zoom.within(call.index.total_queries, call.k.shape[2])
    queries = call.index.queries
    rows = [row for row, query in enumerate(queries.tolist()) if zoom.first_query <= query < zoom.query_stop]
    keys = slice(zoom.first_key, zoom.key_stop)
    assert picture.zoom == zoom
    assert picture.queries.tolist() == queries[rows].tolist()
    assert (picture.first_query, picture.first_key) == (int(queries[rows[0]]), zoom.first_key)
    visible = torch.ones_like(steps.weights, dtype=torch.bool) if steps.keep is None else steps.keep
    if call.rules.bias is not None:
        visible = visible & (call.rules.bias != -torch.inf)
    visible = visible.expand_as(steps.weights)
    pools = picture.query_pool, picture.key_pool
    for item, head in np.ndindex(steps.weights.shape[:2]):
        expected = pooled(steps.weights[item, head, rows, keys].numpy(), *pools)
        np.testing.assert_allclose(picture.weights[item, head].numpy(), expected, rtol=2e-6, atol=1e-7)
        seen = picture.visible.expand(*steps.weights.shape[:2], -1, -1)[item, head]
        assert seen.tolist() == pooled(visible[item, head, rows, keys].numpy(), *pools).tolist()
        if steps.sink is not None:
            expected = pooled(steps.sink[item, head, rows, None].numpy(), pools[0], 1)[:, 0]
            np.testing.assert_allclose(picture.sink[item, head].numpy(), expected, rtol=2e-6, atol=1e-7)
    assert (picture.sink is None) == (steps.sink is None)
    return picture


@settings(deadline=None, max_examples=60)
@given(selected(calls()), st.data())
def test_every_cell_of_a_window_that_fits_is_one_weight(call, data):
    picture = assert_shows(call, InspectOptions(zoom=data.draw(zooms(call))))
    assert (picture.query_pool, picture.key_pool) == (1, 1)


@settings(deadline=None, max_examples=60)
@given(selected(calls() | broken_calls()), st.integers(1, 4), st.integers(1, 4), st.data())
def test_a_window_that_does_not_fit_is_max_pooled(call, rows, columns, data):
    picture = assert_shows(
        call, InspectOptions(zoom=data.draw(zooms(call)), picture_rows=rows, picture_columns=columns)
    )
    assert picture.weights.shape[2] <= rows
    assert picture.weights.shape[3] <= columns


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("zoom", [Zoom(0, None, 1, 3), Zoom(2, 4, 0, None), Zoom(3, 4, 2, 3)], ids=str)
def test_every_kind_of_mask_is_that_of_the_whole_call(name, zoom):
    assert_shows(CASES[name], InspectOptions(zoom=zoom))


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 40), st.integers(1, 2**8), st.data())
def test_neither_tiles_nor_blocks_change_a_cell(keys_at_once, numbers_at_once, data):
    """Windows longer than one tile: pools begin in one tile and end in the next, the first rows see no key."""
    call = make_call(1, 4, 2, queries=60, keys=45, sinks=drawn(3, 4), causal=True, window=(9, 0), features=2)
    call = data.draw(st.sampled_from([call, replace(call, rules=replace(call.rules, bias=drawn(4, 1, 1, 60, 45)))]))
    options = InspectOptions(zoom=data.draw(zooms(call)), picture_rows=7, picture_columns=6)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zoom_module, "KEYS_AT_ONCE", keys_at_once)
        patch.setattr(zoom_module, "NUMBERS_AT_ONCE", numbers_at_once)
        assert_shows(call, options)


@settings(deadline=None, max_examples=30)
@given(selected(calls()), st.data())
def test_a_zoom_changes_the_pictures_alone(call, data):
    plain = InspectOptions(top=4, weights=True, similarity=True)
    whole, zoomed = inspect(call, plain), inspect(call, replace(plain, zoom=data.draw(zooms(call))))
    assert zoomed.labels == whole.labels
    assert zoomed.findings == whole.findings
    for name, values in whole.metrics.items():
        torch.testing.assert_close(zoomed.metrics[name], values, rtol=0, atol=0, equal_nan=True)
    for name in ("query", "key", "weight"):
        expected = getattr(whole.top, name)
        torch.testing.assert_close(getattr(zoomed.top, name), expected, rtol=0, atol=0, equal_nan=True)
    torch.testing.assert_close(zoomed.weights, whole.weights, rtol=0, atol=0)
    torch.testing.assert_close(zoomed.similarity, whole.similarity, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_half_inputs_are_accumulated_in_float32(dtype):
    call = make_call(kv_heads=2, dtype=dtype, causal=True)
    picture = inspect(call, InspectOptions(zoom=Zoom(1, 4, 2, 6))).pictures
    exact = textbook.attend(call.to(torch.device("cpu"), torch.float64)).weights[:, :, 1:4, 2:6]
    torch.testing.assert_close(picture.weights.double(), exact, atol=1e-6, rtol=1e-5)


def test_a_window_of_hidden_keys_is_shown_as_hidden():
    picture = inspect(make_call(queries=8, keys=8, causal=True), InspectOptions(zoom=Zoom(0, 3, 5, 8))).pictures
    assert not picture.visible.any()
    assert picture.weights.shape == (2, 4, 3, 3)
    assert not picture.weights.any()


def test_a_row_that_is_no_number_is_none_in_every_window():
    call = make_call(queries=6, keys=6, causal=True)
    call.q[1, 2, 3, 0] = torch.nan
    picture = inspect(call, InspectOptions(zoom=Zoom(2, 5, 4, 6))).pictures
    assert picture.weights.isnan().nonzero().tolist() == [[1, 2, 1, 0], [1, 2, 1, 1]]


def test_a_finite_mask_value_gives_hidden_keys_their_weight():
    call = make_call(valid_lens=torch.tensor([3, 0]), value=-1e6)
    picture = inspect(call, InspectOptions(zoom=Zoom(0, 2, 3, 7))).pictures
    assert picture.weights[1].flatten().tolist() == pytest.approx([1 / 7] * 32)
    assert not picture.visible.any()


def test_a_square_window_stays_square():
    call = make_call(1, 1, queries=50, keys=30, features=2)
    picture = inspect(call, InspectOptions(zoom=Zoom(10, 30, 5, 25), picture_rows=5, picture_columns=20)).pictures
    assert (picture.query_pool, picture.key_pool) == (4, 4)


def test_what_is_hidden_by_every_row_is_not_computed():
    """All that a window far above the diagonal takes is told as progress."""
    call, told = make_call(1, 1, queries=64, keys=64, causal=True, features=2), []
    inspect(call, InspectOptions(), lambda done, total: told.append((done, total)))
    without = told[-1][1]
    inspect(call, InspectOptions(zoom=Zoom(0, 16, 32, 64)), lambda done, total: told.append((done, total)))
    assert told[-1][0] == told[-1][1]
    assert told[-1][1] - without <= 16


@pytest.mark.parametrize(
    ("zoom", "words"),
    [
        (Zoom(0, 6, 0, 7), "query rows 0:6; expected a range within 0:5"),
        (Zoom(0, 5, 0, 8), "keys 0:8; expected a range within 0:7"),
        (Zoom(5), "query rows 5:; expected"),
        (Zoom(first_key=9), "keys 9:; expected"),
        (Zoom(2, 2), "query rows 2:2; expected"),
        (Zoom(-1, 2), "query rows -1:2; expected"),
    ],
    ids=str,
)
def test_a_window_beyond_the_call_is_refused(zoom, words):
    with pytest.raises(IndexError, match=words):
        inspect(make_call(), InspectOptions(zoom=zoom))


def test_a_window_without_a_selected_row_is_refused():
    call = select(make_call(), Selection(queries=(0, 4)))
    with pytest.raises(IndexError, match="none of the selected query rows"):
        inspect(call, InspectOptions(zoom=Zoom(1, 4)))


@pytest.mark.parametrize("keep", [coin(1, 1, 4, 5, 7), coin(2, 2, 1, 1, 7), coin(3, 1, 1, 5, 1)])
def test_keep_masks_broadcast_in_a_window_too(keep):
    assert_shows(make_call(keep=keep), InspectOptions(zoom=Zoom(1, 4, 2, 6)))
