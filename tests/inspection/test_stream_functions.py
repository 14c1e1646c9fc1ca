"""The functions that do the work: compiled as plain, and called for no more tiles than rows see."""

import itertools
from dataclasses import replace

import pytest
import torch

from attn_cli.inspection import inspector
from attn_cli.inspection.inspector import inspect
from attn_cli.inspection.options import InspectOptions
from attn_cli.inspection.stream.functions import Functions, compiled
from attn_cli.inspection.stream.loop import add_tiles
from tests.attention.calls import make_call
from tests.inspection.stream_cases import calls_of_every_kind

CALLS = calls_of_every_kind()
TILES = InspectOptions(block_rows=5, block_keys=8, picture_rows=9, picture_columns=11)


class Counting:
    """Does the work of ``add_tiles`` and notes each tile's first key and how many scores it is."""

    def __init__(self):
        self.starts, self.scores = [], 0

    def __call__(self, q, tiles, *rest):
        self.starts += tiles.starts
        for keys, begin, end in zip(tiles.keys, tiles.begins, tiles.ends, strict=True):
            self.scores += q.shape[0] * (end - begin) * keys.shape[1]
        return add_tiles(q, tiles, *rest)


@pytest.fixture
def counting(monkeypatch):
    counter = Counting()
    monkeypatch.setattr(inspector, "choose_functions", lambda *_: Functions(add_tiles=counter))
    return counter


def assert_same(found, expected):
    """Bit for bit."""
    results = ((x.output, x.lse, x.pictures.weights, x.top.weight, x.metrics) for x in (found, expected))
    torch.testing.assert_close(*results, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("name", CALLS)
def test_compiled_functions_give_what_plain_ones_give(name, monkeypatch):
    expected = inspect(CALLS[name], TILES)
    assert isinstance(compiled().add_tiles, torch.jit.ScriptFunction)
    monkeypatch.setattr(inspector, "choose_functions", lambda *_: compiled())
    assert_same(inspect(CALLS[name], TILES), expected)


def test_what_cannot_be_compiled_works_as_it_is(monkeypatch):
    def refuse(*_, **__):
        raise RuntimeError("no compiler here")

    expected = inspect(CALLS["sinks"], TILES)
    monkeypatch.setattr(torch.jit, "script", refuse)
    monkeypatch.setattr(inspector, "choose_functions", lambda *_: compiled())
    compiled.cache_clear()
    try:
        found = inspect(CALLS["sinks"], TILES)
        assert compiled() == Functions()
    finally:
        compiled.cache_clear()
    assert_same(found, expected)


def long_call(size=256, **mask):
    return make_call(1, 1, queries=size, keys=size, features=2, dtype=torch.float32, **mask)


def test_causal_order_costs_half(counting):
    inspect(long_call(causal=True), InspectOptions(block_rows=16, block_keys=16, picture_columns=16))
    assert 256 * 256 / 2 < counting.scores <= 256 * (256 + 2 * 16) / 2


@pytest.mark.parametrize("size", [256, 512])
def test_a_window_costs_its_width_for_every_row(counting, size):
    inspect(long_call(size, window=(15, 0)), InspectOptions(block_rows=16, block_keys=16, picture_columns=size // 16))
    assert 16 * size - 200 < counting.scores <= 2 * 16 * size


@pytest.mark.parametrize("causal", [False, True])
def test_a_tile_that_a_keep_mask_hides_is_not_computed(counting, causal):
    keep = torch.zeros(1, 1, 256, 256, dtype=torch.bool)
    keep[..., :32] = keep[..., 128:144] = True
    keep[:, :, :16] = False
    call = long_call(keep=keep, causal=causal)
    inspect(call, InspectOptions(block_rows=16, block_keys=16, picture_columns=16))
    assert sorted(set(counting.starts)) == [0, 16, 128]
    assert counting.scores <= 240 * 48


def test_valid_lengths_end_the_tiles(counting):
    call = make_call(2, 1, queries=8, keys=64, valid_lens=torch.tensor([0, 9]))
    inspect(call, InspectOptions(block_keys=8, block_rows=8, picture_columns=8))
    assert set(counting.starts) == {0, 8}


def test_grouped_queries_read_a_tile_once(counting):
    call = make_call(1, 8, 2, queries=4, keys=64)
    inspect(call, InspectOptions(block_keys=64, block_rows=4))
    assert counting.starts == [0]
    assert counting.scores == 8 * 4 * 64


def test_the_work_told_grows_with_the_window_and_not_with_its_square():
    def total(size, window):
        told = []
        inspect(long_call(size, window=window), InspectOptions(), lambda _, todo: told.append(todo))
        return told[-1]

    assert 256 * 17 - 200 <= total(256, (15, 0)) <= 256 * 17
    assert total(512, (15, 0)) < 2.1 * total(256, (15, 0))
    assert total(512, (31, 0)) < 2.1 * total(512, (15, 0))


@pytest.mark.parametrize("name", CALLS)
def test_progress_rises_to_its_total(name):
    told = []
    inspect(CALLS[name], TILES, lambda done, total: told.append((done, total)))
    done = [one for one, _ in told]
    assert all(one < two for one, two in itertools.pairwise(done))
    assert {total for _, total in told} == {done[-1]}


def test_parts_of_a_call_join_without_a_seam(monkeypatch):
    """A call of many rows is cut into parts; a picture's cell may lie in two of them."""
    from attn_cli.inspection.stream import plan

    for name in ("causal bottom-right", "sinks", "keep block-sparse", "queries with gaps"):
        expected = inspect(CALLS[name], TILES)
        for rows in (1, 7, 30, 100):
            with monkeypatch.context() as patch:
                patch.setattr(plan, "ROWS_OF_PART", rows)
                found = inspect(CALLS[name], TILES)
            torch.testing.assert_close(found.output, expected.output, rtol=1e-12, atol=1e-14)
            torch.testing.assert_close(found.pictures.weights, expected.pictures.weights)
            for metric, values in expected.metrics.items():
                torch.testing.assert_close(found.metrics[metric], values, rtol=1e-9, atol=1e-12, equal_nan=True)


def test_key_and_value_stay_in_place_and_are_not_expanded():
    """A tile is a view of K and V wherever no conversion is needed."""
    seen = []

    def watching(q, tiles, *rest):
        seen.extend((k.data_ptr(), v.data_ptr()) for k, v in zip(tiles.keys, tiles.values, strict=True))
        return add_tiles(q, tiles, *rest)

    call = make_call(1, 4, 2, queries=300, keys=600, features=8, dtype=torch.float32)
    call = replace(call, k=call.k.transpose(1, 2).contiguous().transpose(1, 2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inspector, "choose_functions", lambda *_: Functions(add_tiles=watching))
        inspect(call, InspectOptions(block_rows=300, block_keys=512))

    def lies_in(address, x):
        return x.data_ptr() <= address < x.data_ptr() + x.untyped_storage().nbytes()

    assert seen
    assert all(lies_in(k, call.k) and lies_in(v, call.v) for k, v in seen)
