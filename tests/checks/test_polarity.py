"""ATTN008: masks read the wrong way round, and masks that only look a little like it."""

import pytest
import torch

from attn_cli.attention.selection import Selection
from attn_cli.checks.rules.polarity import MaskPolarity
from attn_cli.inspection.types import Place
from tests.checks.cases import case, finding, findings
from tests.checks.healthy import additive

CHECK = MaskPolarity()
ONES = torch.ones(8, 8, dtype=torch.bool)
UPPER = ONES.triu(1)[None, None]  # what nn.MultiheadAttention's causal mask holds
PADDED = (torch.arange(8) < torch.tensor([8, 5, 6])[:, None])[:, None, None]
IDS = torch.tensor([[11, 12, 13, 14, 15, 0, 0, 0], [14, 13, 15, 16, 17, 18, 0, 0]])


def test_the_strict_upper_triangle_shows_the_future_alone():
    found = finding(CHECK, case(keep=UPPER))
    assert (found.code, found.severity, found.count) == ("ATTN008", "warning", 28)
    assert found.place == Place("mask", query=0, key=1)
    assert "(True = may attend, default) shows each query the keys after its own place alone" in found.message
    assert "28 of 64 cells are visible and 1 query row is empty" in found.message
    assert "the other way round, 36 of 64 cells are visible and no query row is empty" in found.message
    assert "the output changes by up to" in found.message
    assert found.hint == "Add --mask-polarity drop if True means hidden, as in nn.MultiheadAttention."


def test_the_hint_follows_from_how_the_mask_was_read():
    assert "Leave out --mask-polarity drop" in finding(CHECK, case(keep=UPPER, polarity="drop")).hint
    found = finding(CHECK, case(bias=additive(UPPER)))
    assert found.place.tensor == "bias"
    assert found.message.startswith("the bias shows each query the keys after its own place alone: 28 of 64")
    assert "0 where a key may be attended to, -inf where it is hidden" in found.hint


@pytest.mark.parametrize("constant", [-torch.inf, -1e9, torch.finfo(torch.float32).min])
def test_additive_masks_are_read_too(constant):
    assert finding(CHECK, case(bias=additive(UPPER, constant))).count == 28
    assert findings(CHECK, case(bias=additive(~UPPER, constant))) == ()


def test_one_inverted_item_is_enough_and_one_head_is_not():
    keep = (~UPPER).repeat(2, 1, 1, 1)
    keep[1] = UPPER
    found = finding(CHECK, case(keep=keep))
    assert found.place == Place("mask", batch=1, query=0, key=1)
    assert "in 1 of 2 batch items" in found.message
    heads = (~UPPER).repeat(1, 3, 1, 1)
    heads[0, 1] = UPPER
    assert findings(CHECK, case(keep=heads)) == ()


def test_a_causal_mask_with_padding_inverted():
    found = finding(CHECK, case(3, keep=~(~UPPER & PADDED)))
    assert found.place == Place("mask", batch=0, query=0, key=1)


@pytest.mark.parametrize("offset", [0, 5])
def test_a_rectangular_upper_triangle(offset):
    upper = torch.ones(4, 9, dtype=torch.bool).triu(offset + 1)[None, None]
    assert finding(CHECK, case(queries=4, keys=9, keep=upper)).place == Place("mask", query=0, key=offset + 1)
    assert findings(CHECK, case(queries=4, keys=9, keep=~upper)) == ()


def test_each_query_on_its_own_key_is_no_future_at_another_alignment():
    keep = torch.eye(4, 9, dtype=torch.bool).roll(1, dims=1)[None, None]
    assert findings(CHECK, case(queries=4, keys=9, keep=keep)) == ()


def test_padding_is_shown_and_tokens_are_hidden():
    found = finding(CHECK, case(3, keep=~PADDED))
    assert (found.place, found.count) == (Place("mask", batch=0), 1)
    assert "hides 1 batch item wholly" in found.message
    assert "40 of 192 cells are visible and 8 query rows are empty" in found.message
    assert "152 of 192 cells are visible and no query row is empty" in found.message
    dense = (~PADDED).expand(3, 1, 8, 8)
    assert finding(CHECK, case(3, keep=dense)).place == Place("mask", batch=0)


def test_padding_on_the_left_is_no_inversion():
    left = PADDED.flip(-1)
    assert findings(CHECK, case(3, keep=left)) == ()
    left[1] = False  # an item of nothing but padding beside a full one
    assert findings(CHECK, case(3, keep=left)) == ()
    assert findings(CHECK, case(3, keep=PADDED)) == ()


def test_a_batch_in_which_everything_is_hidden():
    found = finding(CHECK, case(keep=torch.zeros(2, 1, 1, 8, dtype=torch.bool)))
    assert (found.place, found.count) == (Place("mask"), 16)
    assert "hides every key from every query: 0 of 128 cells" in found.message


def test_causal_order_without_the_diagonal():
    found = finding(CHECK, case(keep=ONES.tril(-1)[None, None]))
    assert (found.severity, found.place, found.count) == ("warning", Place("mask", query=0, key=0), 8)
    assert "hides its own" in found.message
    assert ".tril()" in found.hint
    mirrored = finding(CHECK, case(keep=ONES.triu()[None, None]))
    assert mirrored.severity == "info"
    assert "its own key and those after it, and none before" in mirrored.message


def test_a_band_without_its_diagonal_is_no_causal_order():
    band = (ONES.tril(2) & ONES.triu(-2) & ~torch.eye(8, dtype=torch.bool))[None, None]
    assert findings(CHECK, case(keep=band)) == ()
    assert findings(CHECK, case(keep=~torch.eye(8, dtype=torch.bool)[None, None])) == ()


@pytest.mark.parametrize("flip", [False, True])
def test_token_ids_tell_padding_from_text(flip):
    ids = IDS.flip(-1) if flip else IDS
    keep = (ids == 0)[:, None, None]
    found = finding(CHECK, case(keep=keep, token_ids=ids))
    assert (found.count, found.place) == (5, Place("mask", batch=0, key=0 if flip else 5))
    assert "token id 0 alone and hides 8 different ids" in found.message
    assert findings(CHECK, case(keep=~keep, token_ids=ids)) == ()


def test_one_visible_token_is_no_padding():
    keep = torch.zeros(2, 1, 1, 8, dtype=torch.bool)
    keep[..., 0] = True  # everything looks at the first token
    ids = torch.arange(1, 17).view(2, 8)
    ids[:, 0] = 101
    assert findings(CHECK, case(keep=keep, token_ids=ids)) == ()


def test_a_selection_names_places_of_the_whole_call():
    part = Selection(batch=(1,), heads=(2,), queries=(4, 6))
    found = finding(CHECK, case(keep=UPPER, selection=part))
    assert found.place == Place("mask", query=0, key=1)
    assert "batch 1, head 2, query" in found.message
    assert "4 of 16 cells are visible" in found.message


def test_two_queries_can_look_like_anything():
    keep = torch.tensor([[False, True], [False, False]])[None, None]
    assert findings(CHECK, case(queries=2, keys=2, keep=keep)) == ()
    assert findings(CHECK, case(queries=2, keys=6, keep=torch.ones(2, 6).triu(5).bool()[None, None])) == ()
