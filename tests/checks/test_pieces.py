"""How ``attn check`` walks a call: many small heads together, large keys and values in parts."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from attn_cli.attention.textbook import attend
from attn_cli.attention.types import AttentionInputs, LinearWeights
from attn_cli.checks import pieces as walked
from attn_cli.checks.exact import pieces_of
from attn_cli.checks.pieces import Piece, pieces
from tests.checks.cases import case, evidence

ROWS = (0, 2, 3)


def call(kv_heads: int) -> AttentionInputs:
    """3 batch items of 128 heads of 4 queries and 5 keys, with a mask and a bias of each head's own, and sinks."""
    normal = torch.Generator().manual_seed(1)
    keep = torch.rand(3, 128, 4, 5, generator=normal) < 0.7
    bias, sinks = torch.randn(1, 128, 1, 5, generator=normal), torch.randn(128, generator=normal)
    lens = torch.tensor([5, 2, 0])
    made = case(3, 128, 4, 5, 6, kv_heads=kv_heads, value_dim=3, keep=keep, bias=bias, sinks=sinks, valid_lens=lens)
    assert isinstance(made.inputs, AttentionInputs)
    return made.inputs


def covered(found: list[Piece], inputs: AttentionInputs) -> None:
    """Each head and row is there once, in order, with the weights and the output of the whole call at once."""
    whole = attend(inputs.to(torch.device("cpu"), torch.float64))
    places = [(piece.batch, head, row) for piece in found for head in piece.heads for row in piece.rows]
    assert sorted(places) == [(item, head, row) for item in range(3) for head in range(128) for row in ROWS]
    for piece in found:
        for mine, theirs in ((piece.steps.weights, whole.weights), (piece.steps.output, whole.output)):
            torch.testing.assert_close(mine[0], piece.of(theirs), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kv_heads", [128, 32, 1])
def test_many_small_heads_are_walked_together(kv_heads):
    inputs = call(kv_heads)
    found = list(pieces(inputs, ROWS, torch.float64))
    assert len(found) == 3  # one a batch item
    covered(found, inputs)


@pytest.mark.parametrize(("kv_heads", "largest"), [(128, 1), (32, 2), (1, 2)])
def test_large_keys_and_values_are_not_repeated_for_a_whole_group_at_once(monkeypatch, kv_heads, largest):
    monkeypatch.setattr(walked, "SMALL_PIECE", 1)
    monkeypatch.setattr(walked, "NUMBERS_AT_ONCE", 2 * 5 * (6 + 3) + 1)  # k and v of two heads
    inputs = call(kv_heads)
    found = list(pieces(inputs, ROWS, torch.float64))
    assert max(len(piece.heads) for piece in found) == largest
    covered(found, inputs)


def test_rows_of_many_features_are_walked_some_at_a_time(monkeypatch):
    monkeypatch.setattr(walked, "SMALL_PIECE", 1)
    monkeypatch.setattr(walked, "NUMBERS_AT_ONCE", 2 * (6 + 3))  # q and output of two rows
    inputs = call(128)
    found = list(pieces(inputs, ROWS, torch.float64))
    assert {piece.rows for piece in found} == {(0, 2), (3,)}
    covered(found, inputs)


def test_the_output_projection_is_not_converted_for_each_piece():
    projected = replace(call(128), output_projection=LinearWeights(torch.zeros(4, 128 * 3), None))
    assert all(piece.inputs.output_projection is None for piece in pieces(projected, ROWS))


def test_only_what_takes_little_memory_is_kept():
    small, wide = (evidence(case(1, 1, 2, 2, dim)) for dim in (8, 2**17))
    assert pieces_of(small) is pieces_of(small)
    assert pieces_of(wide) is not pieces_of(wide)  # few scores of many features
    assert not wide.kept_pieces
