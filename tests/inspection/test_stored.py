"""Weights that somebody else computed stand in the cells of an inspection, value for value."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attn_cli.inspection.inspector import inspect
from attn_cli.inspection.options import DetailOptions, InspectOptions
from attn_cli.inspection.stored import LABEL, stored_inspection
from tests.attention.calls import make_call


def _largest(block):
    return np.nan if np.isnan(block).any() else block.max()


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 4), st.integers(1, 4), st.integers(0, 2**16))
def test_cells_are_the_largest_of_their_block_and_windows_hold_every_weight(queries, keys, rows, columns, seed):
    call = make_call(queries=queries, keys=keys, seed=seed)
    detail = DetailOptions(rows, columns, whole=True)
    like = inspect(call, InspectOptions(picture_rows=rows, picture_columns=columns, detail=detail))
    weights = torch.rand(call.weights_shape, generator=torch.Generator().manual_seed(seed))
    weights[0, 0, 0, 0] = torch.nan
    weights[-1, -1, -1] = 0.0
    stored = stored_inspection(weights, like)
    shown, down, across = stored.detail.pictures, like.detail.pictures.query_pool, like.detail.pictures.key_pool
    for b, h in np.ndindex(*weights.shape[:2]):
        (window,) = stored.detail.windows[b][h]
        torch.testing.assert_close(window.weights, weights[b, h], rtol=0, atol=0, equal_nan=True)
        assert window.log_total is None
        for r, c in np.ndindex(*shown.weights.shape[2:]):
            block = weights[b, h, r * down : (r + 1) * down, c * across : (c + 1) * across].numpy()
            np.testing.assert_equal(float(shown.weights[b, h, r, c]), float(_largest(block)))
    assert stored.labels[0][0] == LABEL
    assert stored.metrics == {}


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 7), st.integers(1, 7), st.integers(1, 6), st.integers(0, 2**16))
def test_the_strongest_pairs_are_the_largest_weights(queries, keys, top, seed):
    call = make_call(queries=queries, keys=keys, seed=seed)
    weights = torch.rand(call.weights_shape, generator=torch.Generator().manual_seed(seed))
    weights[:, :, 0] = 0.0
    found = stored_inspection(weights, inspect(call, InspectOptions(top=top))).top
    for b, h in np.ndindex(*weights.shape[:2]):
        expected = np.sort(weights[b, h].double().numpy().ravel())[::-1][: found.weight.shape[2]]
        for query, key, weight, largest in zip(
            found.query[b, h], found.key[b, h], found.weight[b, h], expected, strict=True
        ):
            if largest == 0:
                assert (int(query), int(key)) == (-1, -1)
                assert bool(weight.isnan())
            else:
                assert float(weight) == largest == float(weights[b, h, query, key])


def test_a_weight_on_a_masked_key_is_seen():
    call = make_call(queries=4, keys=4, causal=True)
    like = inspect(call, InspectOptions(detail=DetailOptions(64, 64, whole=True)))
    weights = torch.zeros(call.weights_shape)
    weights[0, 1, 0, 3] = 0.5
    stored = stored_inspection(weights, like)
    visible = stored.detail.windows[0][1][0].visible
    assert bool(visible[0, 3])
    assert bool(visible[3, 3])
    assert not bool(visible[0, 2])


def test_a_weight_below_0_is_seen_and_kept():
    call = make_call(queries=4, keys=4, causal=True)
    like = inspect(call, InspectOptions(picture_rows=2, picture_columns=2, detail=DetailOptions(2, 2, whole=True)))
    weights = torch.zeros(call.weights_shape)
    weights[0, 1, 0, 3] = -0.5
    stored = stored_inspection(weights, like)
    window = stored.detail.windows[0][1][0]
    assert bool(window.visible[0, 3])
    assert float(window.weights[0, 3]) == -0.5
    assert bool(stored.detail.pictures.visible[0, 1, 0, 1])
    assert not bool(like.detail.pictures.visible[0, 0, 0, 1])
