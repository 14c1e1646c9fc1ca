"""What holds whatever the tiles, the threads and the shapes: the streamed pass gives the numbers of the definitions."""

import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from attn_cli.attention import textbook
from attn_cli.inspection import inspector
from attn_cli.inspection.call import Call
from attn_cli.inspection.inspector import inspect
from attn_cli.inspection.options import InspectOptions
from attn_cli.inspection.stream.plan import key_tiles
from tests.attention.calls import make_call
from tests.inspection import reference
from tests.inspection.cases import cases
from tests.inspection.strategies import broken_calls, calls

CASES = cases()
FEW = settings(deadline=None, max_examples=40)


def assert_like_the_textbook(call, result, rtol=1e-9):
    """Output, lse and pictures against all steps at once; values that are not finite as there."""
    steps = textbook.attend(replace(call, rules=call.rules.to(call.q.device, call.q.dtype)))
    close = {"rtol": rtol, "atol": 1e-11, "equal_nan": True}
    torch.testing.assert_close(result.output, steps.output, **close)
    lse = torch.where(steps.lse.isnan(), torch.nan, torch.logsumexp(steps.masked, dim=-1))
    torch.testing.assert_close(result.lse, lse, **close)
    entropy = torch.special.entr(steps.weights).sum(dim=-1)
    live = (Call.prepare(call).seen.counts > 0).expand(entropy.shape)
    mean = torch.where(live, entropy, 0.0).sum(dim=-1) / live.sum(dim=-1)
    torch.testing.assert_close(result.metrics["entropy"], mean.double(), **close)
    pools = (result.pictures.query_pool, result.pictures.key_pool)
    pooled = F.max_pool2d(steps.weights.flatten(0, 1)[None].nan_to_num(2.0), pools, ceil_mode=True)[0]
    found = result.pictures.weights.flatten(0, 1).double().nan_to_num(2.0)
    torch.testing.assert_close(found, pooled, rtol=1e-6, atol=1e-30, check_dtype=False)


@FEW
@given(calls() | broken_calls(), st.integers(1, 9), st.integers(1, 9), st.integers(1, 10), st.integers(1, 10))
def test_tiles_of_any_size_give_the_textbooks_numbers(call, rows, keys, picture_rows, picture_columns):
    options = InspectOptions(
        block_rows=rows, block_keys=keys, picture_rows=picture_rows, picture_columns=picture_columns
    )
    assert_like_the_textbook(call, inspect(call, options))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(("rows", "keys"), [(1, 1), (2, 3), (4, 2)])
def test_metrics_follow_their_definitions_at_any_tile_size(name, rows, keys):
    found = inspect(CASES[name], InspectOptions(block_rows=rows, block_keys=keys)).metrics
    for metric, values in reference.metrics(CASES[name]).items():
        np.testing.assert_allclose(found[metric].numpy(), values, rtol=1e-9, atol=1e-12, err_msg=metric)


@FEW
@given(calls(), st.integers(1, 9), st.integers(1, 9))
def test_kept_weights_and_similarity_do_not_depend_on_the_tiles(call, rows, keys):
    whole = inspect(call, InspectOptions(weights=True, similarity=True))
    parts = inspect(call, InspectOptions(weights=True, similarity=True, block_rows=rows, block_keys=keys))
    torch.testing.assert_close(parts.weights, whole.weights)
    torch.testing.assert_close(parts.similarity, whole.similarity, equal_nan=True)


@FEW
@given(calls() | broken_calls(), st.integers(0, 12), st.integers(1, 9), st.integers(1, 9), st.integers(1, 9))
def test_the_strongest_pairs_need_no_kept_weights(call, top, rows, keys, columns):
    options = InspectOptions(top=top, block_rows=rows, block_keys=keys, picture_columns=columns)
    found, expected = inspect(call, options).top, inspect(call, InspectOptions(top=top, weights=True)).top
    torch.testing.assert_close(found.weight, expected.weight, equal_nan=True, rtol=1e-9, atol=1e-12)
    weights = inspect(call, InspectOptions(weights=True)).weights
    for item, head in np.ndindex(found.weight.shape[:2]):
        pairs = list(zip(found.query[item, head].tolist(), found.key[item, head].tolist(), strict=True))
        real = [pair for pair in pairs if pair != (-1, -1)]
        assert len(set(real)) == len(real)
        for (query, key), weight in zip(real, found.weight[item, head].tolist(), strict=False):
            assert float(weights[item, head, query, key]) == pytest.approx(weight, rel=1e-9)


@pytest.mark.parametrize("size", [1.0, 30.0, 1e4, 1e9])
@pytest.mark.parametrize("order", ["rising", "falling", "shuffled"])
def test_logits_of_any_size_in_any_order(size, order):
    """Rising logits move the maximum at every tile."""
    call = make_call(batch=1, heads=2, queries=6, keys=64, features=4, scale=1.0, causal=True)
    line = torch.linspace(-size, size, 64).double()
    line = {"rising": line, "falling": line.flip(0), "shuffled": line[torch.randperm(64)]}[order]
    k = torch.zeros_like(call.k)
    k[..., 0] = line
    call = replace(call, q=torch.ones_like(call.q), k=k)
    assert bool(Call.prepare(call).sound.all())
    assert_like_the_textbook(call, inspect(call, InspectOptions(block_keys=5, block_rows=4)))


def test_rows_that_see_nothing_in_the_first_tiles_or_nothing_at_all():
    call = make_call(queries=40, keys=40, causal=True, window=(3, 0), valid_lens=torch.tensor([40, 0]))
    assert_like_the_textbook(call, inspect(call, InspectOptions(block_rows=16, block_keys=4)))
    assert_like_the_textbook(call, inspect(call, InspectOptions(block_rows=40, block_keys=4)))


def test_a_tile_that_is_wholly_masked_is_no_work():
    """The work that is told, in scores; test_stream_functions counts what is computed."""
    told = []
    wide = make_call(batch=1, heads=1, queries=512, keys=512, causal=True, features=2, dtype=torch.float32)
    inspect(wide, InspectOptions(block_rows=8), lambda _, total: told.append(total))
    narrow = replace(wide, rules=replace(wide.rules, mask=replace(wide.rules.mask, window=(7, 0))))
    inspect(narrow, InspectOptions(block_rows=8), lambda _, total: told.append(total))
    assert told[-1] < told[0] / 20


@given(st.integers(0, 50), st.integers(0, 60), st.integers(1, 12), st.integers(1, 12))
def test_tiles_cover_the_keys_once_and_respect_the_cells(first, count, size, pool):
    tiles = list(key_tiles(first, first + count, size, pool))
    assert [key for tile in tiles for key in range(tile.start, tile.stop)] == list(range(first, first + count))
    for tile in tiles:
        assert tile.stop - tile.start <= size
        assert tile.start % pool == 0 or tile.start // pool == (tile.stop - 1) // pool


def test_float32_metrics_are_within_1e_5_of_float64():
    call = make_call(
        batch=1, heads=4, kv_heads=2, queries=700, keys=1300, features=64, dtype=torch.float32, causal=True
    )
    call = replace(call, q=call.q * 2, token_ids=torch.randint(0, 40, (1, 1300)))
    narrow = inspect(call).metrics
    wide = inspect(call.to(torch.device("cpu"), torch.float64)).metrics
    for name, values in wide.items():
        torch.testing.assert_close(narrow[name], values, rtol=1e-5, atol=1e-7, equal_nan=True, msg=name)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_the_number_of_threads_changes_nothing(threads, monkeypatch):
    monkeypatch.setattr(inspector, "is_small", lambda _: False)  # shared out though it is small
    call = make_call(batch=1, heads=4, kv_heads=2, queries=300, keys=300, features=8, dtype=torch.float32, causal=True)
    before = torch.get_num_threads()
    options = InspectOptions(top=5, block_rows=16, block_keys=64)
    expected = inspect(call, options)
    try:
        torch.set_num_threads(threads)
        found = inspect(call, options)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found.output, expected.output)
    assert torch.equal(found.top.weight, expected.top.weight)
    assert torch.equal(found.pictures.weights, expected.pictures.weights)
    for name, values in expected.metrics.items():
        torch.testing.assert_close(found.metrics[name], values, rtol=1e-12, atol=0, equal_nan=True)


class StopError(Exception):
    """Stands in for Ctrl-C."""


def test_an_interruption_ends_the_threads_and_gives_the_thread_count_back():
    before, alive = torch.get_num_threads(), set(threading.enumerate())

    def stop(*_):
        raise StopError

    call = make_call(batch=1, heads=4, queries=300, keys=300, dtype=torch.float32)
    with pytest.raises(StopError):
        inspect(call, InspectOptions(block_rows=16), stop)
    assert torch.get_num_threads() == before
    assert set(threading.enumerate()) <= alive
