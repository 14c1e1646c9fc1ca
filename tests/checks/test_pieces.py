"""How ``attn check`` walks a call: many small heads together, large keys and values in parts."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from attn_cli.attention.textbook import attend
from attn_cli.attention.types import AttentionInputs, LinearWeights
from attn_cli.checks import CHECKS
from attn_cli.checks import pieces as walked
from attn_cli.checks.evidence import Evidence
from attn_cli.checks.exact import pieces_of
from attn_cli.checks.pieces import Piece, pieces
from attn_cli.checks.rules.precision import Precision
from attn_cli.checks.runner import check_call
from attn_cli.inputs.types import LoadedCall, Recorded
from attn_cli.pipeline import RunOptions
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
    heads = [(one, row) for piece in found for one in zip(piece.items, piece.heads, strict=True) for row in piece.rows]
    places = sorted((item, head, row) for (item, head), row in heads)
    assert places == [(item, head, row) for item in range(3) for head in range(128) for row in ROWS]
    for piece in found:
        for mine, theirs in ((piece.steps.weights, whole.weights), (piece.steps.output, whole.output)):
            torch.testing.assert_close(mine[0], piece.of(theirs), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kv_heads", [128, 32, 1])
def test_many_small_heads_are_walked_together(kv_heads):
    inputs = call(kv_heads)
    found = list(pieces(inputs, ROWS, torch.float64))
    assert len(found) == 1
    covered(found, inputs)


@pytest.mark.parametrize("at_once", [20, 128, 200, 256, 300, 400])
@pytest.mark.parametrize("keep", ["of each head", "of each item", "none"])
@pytest.mark.parametrize("kv_heads", [128, 32])
def test_several_batch_items_are_walked_as_one(monkeypatch, kv_heads, keep, at_once):
    """Whatever their rules depend on: order, a window, lengths of each query, biases of items or of heads, sinks."""
    monkeypatch.setattr(walked, "SMALL_PIECE", at_once * (len(ROWS) + 5) * (6 + 3))  # numbers of so many heads
    inputs, normal = call(kv_heads), torch.Generator().manual_seed(2)
    of_item = torch.rand(3, 1, 1, 5, generator=normal) < 0.7
    mask = replace(
        inputs.rules.mask,
        keep={"of each head": inputs.rules.mask.keep, "of each item": of_item, "none": None}[keep],
        causal=True,
        window=(2, -1),
        valid_lens=torch.tensor([[5, 4, 3, 2], [1, 1, 5, 5], [0, 5, 0, 5]]),
        value=-3.0 if keep == "none" else None,
    )
    inputs = replace(inputs, rules=replace(inputs.rules, mask=mask, bias=torch.randn(3, 1, 4, 5, generator=normal)))
    found = list(pieces(inputs, ROWS, torch.float64))
    assert max(len(set(piece.items)) for piece in found) == min(3, max(1, at_once // 128))
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


FAULTS = {
    "an output": "ATTN006",
    "weights": "ATTN006",
    "large logits": "ATTN007",
    "a bias that leaks": "ATTN010",
    "two heads alike": "ATTN018",
}
FAR = (137, 1, 4)  # the batch item, head and query of what is wrong


def many(fault: str) -> LoadedCall:
    """200 batch items of two heads, with a fault in one of them, or with two heads alike in all."""
    made = case(200, 2, 6, 7, 16, causal=True, align="top-left")
    inputs = made.inputs
    assert isinstance(inputs, AttentionInputs)
    q, k, bias, whole = inputs.q.clone(), inputs.k.clone(), torch.zeros(200, 1, 1, 7), attend(inputs)
    if fault == "an output":
        whole.output[(*FAR, 3)] += 0.01
        made = replace(made, recorded=Recorded(output=whole.output))
    elif fault == "weights":
        whole.weights[(*FAR, 3)] += 0.01
        made = replace(made, recorded=Recorded(weights=whole.weights))
    elif fault == "two heads alike":
        q[:, 1], k[:, 1] = q[:, 0], k[:, 0]
    elif fault == "large logits":
        q[FAR] *= 1e19
        k[137, 1, 2] *= 1e19
    elif fault == "a bias that leaks":
        bias[137, ..., 3:] = -10.0
    return replace(made, inputs=replace(inputs, q=q, k=k, rules=replace(inputs.rules, bias=bias)))


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_found_in_many_batch_items_is_found_in_each_alone(monkeypatch, fault):
    call, options = many(fault), RunOptions(device="cpu")
    together = check_call(call, CHECKS, options).findings
    assert len(together) == 1
    found, place = together[0], together[0].place
    assert found.code == FAULTS[fault]
    assert fault == "two heads alike" or place.batch == FAR[0]
    monkeypatch.setattr(walked, "FEW_HEADS", 10**9)
    assert check_call(call, CHECKS, options).findings == together


def test_a_result_that_is_off_in_one_of_many_batch_items_is_named():
    call = case(200, 2, 6, 7, 16)
    seen = evidence(call)
    output = seen.examined.output.clone()
    output[(*FAR, 3)] += 0.25
    (found,) = Precision().find(Evidence(call, replace(seen.examined, output=output)))
    place = found.place
    assert (found.code, place.batch, place.head, place.query, place.feature) == ("ATTN019", *FAR, 3)
    assert "in 1 of 400 heads in 200 batch items" in found.message
