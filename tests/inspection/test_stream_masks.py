"""Every mask kind in several tiles: metrics by their definitions, rows and pictures by the textbook, in each dtype."""

import itertools

import numpy as np
import pytest
import torch

from attn_cli.inspection.inspector import inspect
from attn_cli.inspection.options import InspectOptions
from tests.inspection import reference
from tests.inspection.stream_cases import assert_metrics, assert_narrow, calls_of_every_kind, softmax_of
from tests.inspection.test_tiles import assert_like_the_textbook

CALLS = calls_of_every_kind()
SIZES = {
    "one row": InspectOptions(block_rows=1, block_keys=5, picture_rows=3, picture_columns=4),
    "tiles of whole cells": InspectOptions(block_rows=5, block_keys=8, picture_rows=9, picture_columns=11),
    "cells of several tiles": InspectOptions(block_rows=7, block_keys=4, picture_rows=4, picture_columns=2),
}
HALVES = [torch.bfloat16, torch.float16]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", CALLS)
def test_rows_and_pictures_are_the_textbooks(name, size):
    assert_like_the_textbook(CALLS[name], inspect(CALLS[name], SIZES[size]))


@pytest.mark.parametrize("name", CALLS)
def test_metrics_follow_their_definitions(name):
    expected = reference.metrics(CALLS[name])
    assert_metrics(inspect(CALLS[name], SIZES["tiles of whole cells"]).metrics, expected, 1e-9, 1e-11)


@pytest.mark.parametrize("name", CALLS)
def test_the_strongest_pairs_are_those_of_the_sorted_weights(name):
    call, options = CALLS[name], InspectOptions(top=7, block_rows=5, block_keys=4, picture_columns=6)
    top, weights = inspect(call, options).top, softmax_of(call).weights
    rows = {query: row for row, query in enumerate(call.index.queries.tolist())}
    for item, head in np.ndindex(weights.shape[:2]):
        real = top.query[item, head] >= 0
        expected = weights[item, head].flatten().sort(descending=True).values[: int(real.sum())]
        torch.testing.assert_close(top.weight[item, head][real], expected, rtol=1e-9, atol=1e-15)
        pairs = zip(top.query[item, head][real].tolist(), top.key[item, head][real].tolist(), strict=True)
        there = [float(weights[item, head, rows[query], key]) for query, key in pairs]
        np.testing.assert_allclose(there, expected.numpy(), rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("name", CALLS)
def test_float32_is_within_1e_5_of_float64(name):
    assert_narrow(CALLS[name], torch.float32, SIZES["cells of several tiles"])


@pytest.mark.parametrize(("name", "dtype"), list(zip(CALLS, itertools.cycle(HALVES), strict=False)))
def test_statistics_of_half_precision_are_those_of_the_rounded_inputs(name, dtype):
    assert_narrow(CALLS[name], dtype, SIZES["tiles of whole cells"])
