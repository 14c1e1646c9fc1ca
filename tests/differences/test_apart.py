"""The largest difference in a cell is taken from all weights, before anything is pooled."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attn_cli.differences import apart
from attn_cli.differences.sources import Stored
from attn_cli.inspection.pictures import farthest

SIZES = st.integers(1, 9)


def _blocks(x, down, across):
    for row in range(0, x.shape[0], down):
        for key in range(0, x.shape[1], across):
            yield row // down, key // across, x[row : row + down, key : key + across]


@settings(deadline=None, max_examples=40)
@given(SIZES, SIZES, st.integers(1, 4), st.integers(1, 4), st.integers(0, 2**16))
def test_a_cell_is_the_difference_of_the_largest_magnitude_with_its_sign(rows, keys, down, across, seed):
    draw = np.random.default_rng(seed)
    one, other = draw.random((2, 2, 3, rows, keys), dtype=np.float32)
    one[0, 0, 0, 0] = np.nan
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(apart, "NUMBERS_AT_ONCE", 2 * keys * down)
        found = apart.farthest_apart(Stored(torch.from_numpy(one)), Stored(torch.from_numpy(other)), down, across)
    gap = (one.astype(np.float64) - other).astype(np.float32)
    for b, h in np.ndindex(2, 3):
        for row, column, block in _blocks(gap[b, h], down, across):
            told = float(found[b, h, row, column])
            if np.isnan(block).any():
                assert np.isnan(told)
            else:
                assert abs(told) == np.abs(block).max()
                assert told in block
    again = farthest(found, 2, 3)
    for row, column, block in _blocks(found[1, 2].numpy(), 2, 3):
        if not np.isnan(block).any():
            assert abs(float(again[1, 2, row, column])) == np.abs(block).max()
