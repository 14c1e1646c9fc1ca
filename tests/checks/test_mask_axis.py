"""ATTN013: masks on the wrong one of two axes of one size."""

import pytest
import torch

from attn_cli.attention.selection import Selection
from attn_cli.checks.rules.mask_axis import MaskAxis
from attn_cli.inspection.types import Place
from tests.checks.cases import case, finding, findings
from tests.checks.healthy import additive

CHECK = MaskAxis()
LENGTHS = torch.tensor([8, 5, 6])
PADDED = torch.arange(8) < LENGTHS[:, None]  # (B, Sk)
CAUSAL = torch.ones(8, 8).tril().bool()


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("is_additive", [False, True])
def test_padding_on_the_heads(left, is_additive):
    keep = (PADDED.flip(-1) if left else PADDED)[None, :, None]  # (1, B, 1, Sk) where (B, 1, 1, Sk) was meant
    found = finding(CHECK, case(3, 3, **({"bias": additive(keep)} if is_additive else {"keep": keep})))
    assert (found.code, found.severity, found.count) == ("ATTN013", "warning", 2)
    assert found.place == Place("bias" if is_additive else "mask", head=1)
    assert "from head to head as padding does from item to item of a batch, which holds 3 too" in found.message
    assert "152 of 192 cells are visible" in found.message
    assert "read that way, 152 of 192 cells are visible" in found.message
    assert "the output changes by up to" in found.message
    assert "(3, 1, 1, 8)" in found.hint


def test_padding_and_causal_order_on_the_heads():
    keep = (CAUSAL & PADDED[:, None])[None]
    assert "(3, 1, 8, 8)" in finding(CHECK, case(3, 3, keep=keep)).hint


def test_padding_on_the_queries():
    found = finding(CHECK, case(3, 4, queries=3, keep=PADDED[None, None]))
    assert (found.place, found.count) == (Place("mask", query=1), 2)
    assert "from query to query" in found.message
    assert "(3, 1, 1, 8)" in found.hint


@pytest.mark.parametrize("dense", [False, True])
def test_queries_hidden_in_place_of_keys(dense):
    keep = PADDED[:, None, :, None]
    found = finding(CHECK, case(3, 4, keep=keep.expand(3, 1, 8, 8) if dense else keep))
    assert (found.place, found.count) == (Place("mask", batch=1, query=5), 5)
    assert "hides whole queries and no key" in found.message
    assert "5 query rows are empty; read that way" in found.message
    assert "no query row is empty, and the output changes" in found.message
    assert "(3, 1, 1, 8)" in found.hint


def test_a_selection_changes_neither_the_sizes_nor_the_place():
    part = Selection(batch=(1, 2), heads=(2, 1), queries=(3, 7))
    found = finding(CHECK, case(3, 3, keep=PADDED[None, :, None], selection=part))
    assert found.place == Place("mask", head=1)
    assert "batch " in found.message.split("(")[-1]


@pytest.mark.parametrize(
    "call",
    [
        case(3, 3, keep=PADDED[:, None, None]),
        case(3, 4, keep=PADDED[[0, 1, 2, 0]][None, :, None]),  # four heads, three items
        case(3, 3, keep=torch.tensor([True, False, True])[None, :, None, None].expand(1, 3, 1, 8)),  # a head is off
        case(3, 3, keep=CAUSAL[None, None] & (CAUSAL.T | (torch.arange(8) < 5))),
        case(3, 3, keep=torch.stack([CAUSAL.triu(-n) for n in range(3)])[None]),  # windows
        case(
            3, 3, queries=5, keep=torch.stack([CAUSAL.triu(-n) for n in range(3)])[None, :, 3:]
        ),  # of the last queries
        case(8, 4, keep=CAUSAL[None, None]),
        case(8, 4, keep=CAUSAL.flip(0)[None, None].flip(2)),
        case(8, 4, keep=CAUSAL.flip(-1)[None, None].flip(2)),
        case(3, 4, queries=3, keep=(torch.arange(8) < torch.tensor([5, 6, 8])[:, None])[None, None]),
        case(3, 4, keep=PADDED[:, None, :, None] & PADDED[:, None, None]),
        case(3, 4, queries=5, keep=PADDED[:, None, :5, None]),
        case(1, 1, keep=PADDED[1].view(1, 1, 1, 8)),
    ],
)
def test_masks_on_their_own_axes(call):
    assert findings(CHECK, call) == ()
