"""Finer pictures made coarser are as good as coarse ones."""

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attn_cli.inspection.coarser import coarser
from attn_cli.inspection.types import Pictures


def pictures(rows, columns, seed, pools=(1, 1)):
    draw = torch.Generator().manual_seed(seed)
    weights = torch.rand(2, 3, rows, columns, generator=draw)
    weights[1, 2, rows // 2, columns // 2] = math.nan
    visible = torch.rand(1, 3, rows, columns, generator=draw) > 0.5
    return Pictures(weights, visible, torch.rand(2, 3, rows, generator=draw), *pools)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 20), st.integers(1, 20), st.integers(0, 9))
def test_each_cell_is_the_largest_of_those_it_stands_for(rows, columns, most_rows, most_columns, seed):
    fine = pictures(rows, columns, seed, pools=(2, 5))
    coarse = coarser(fine, most_rows, most_columns)
    have_rows, have_columns = coarse.weights.shape[2:]
    assert have_rows <= most_rows
    assert have_columns <= most_columns
    by_row, by_column = coarse.query_pool // 2, coarse.key_pool // 5
    for row in range(have_rows):
        for column in range(have_columns):
            cells = (..., slice(row * by_row, (row + 1) * by_row), slice(column * by_column, (column + 1) * by_column))
            largest, seen = fine.weights[cells].amax((-2, -1)), fine.visible[cells].flatten(-2).any(-1)
            assert torch.equal(coarse.weights[:, :, row, column].nan_to_num(9), largest.nan_to_num(9))
            assert torch.equal(coarse.visible[:, :, row, column], seen)
        assert torch.equal(coarse.sink[:, :, row], fine.sink[:, :, row * by_row : (row + 1) * by_row].amax(-1))


def test_pictures_that_fit_are_the_same():
    fine = pictures(8, 9, 0)
    assert coarser(fine, 8, 9) is fine


def test_a_square_stays_a_square():
    coarse = coarser(pictures(30, 30, 1), 30, 10)
    assert coarse.query_pool == coarse.key_pool == 3
