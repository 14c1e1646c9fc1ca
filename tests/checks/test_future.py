"""ATTN011: causal masks with a hole, and masks that are not meant to be causal."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attn_cli.attention.selection import Selection
from attn_cli.checks.rules.future import FutureLeak
from attn_cli.inspection.types import Place
from tests.checks.cases import case, finding, findings
from tests.checks.healthy import additive

CHECK = FutureLeak()
SIZE = 12
ONES = torch.ones(SIZE, SIZE, dtype=torch.bool)
CAUSAL = ONES.tril()[None, None]


def with_cells(*cells):
    keep = CAUSAL.clone()
    for query, key in cells:
        keep[0, 0, query, key] = True
    return keep


def square(keep, **options):
    return case(queries=SIZE, keys=SIZE, keep=keep, **options)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, SIZE - 2), st.data(), st.booleans())
def test_one_later_key_is_found_wherever_it_is(query, data, is_additive):
    key = data.draw(st.integers(query + 1, SIZE - 1))
    keep = with_cells((query, key))
    name = "bias" if is_additive else "mask"
    rules = {"bias": additive(keep)} if is_additive else {"keep": keep}
    found = finding(CHECK, case(queries=SIZE, keys=SIZE, **rules))
    assert (found.code, found.severity, found.count) == ("ATTN011", "warning", 1)
    assert found.place == Place(name, query=query, key=key)
    text = f"the {name} is causal but for 1 cell in 1 query row: query {query} sees key {key}, which comes after"
    assert text in found.message


def test_cells_are_counted_and_the_first_is_named():
    found = finding(CHECK, square(with_cells((2, 7), (2, 9), (5, 6))))
    assert (found.count, found.place) == (3, Place("mask", query=2, key=7))
    assert "3 cells in 2 query rows" in found.message


def test_a_last_key_that_all_queries_see():
    keep = CAUSAL.clone()
    keep[..., -1] = True
    assert finding(CHECK, square(keep)).count == SIZE - 1


def test_a_diagonal_one_too_far():
    found = finding(CHECK, square(ONES.tril(1)[None, None]))
    assert (found.count, found.place) == (SIZE - 1, Place("mask", query=0, key=1))
    assert "one too far" in found.hint


@pytest.mark.parametrize("ahead", [2, 3, 7])
def test_a_diagonal_further_off_is_told(ahead):
    found = finding(CHECK, square(ONES.tril(ahead)[None, None]))
    assert (found.severity, found.place) == ("info", Place("mask", query=0, key=1))
    assert found.count == int(ONES.tril(ahead).sum() - ONES.tril().sum())
    assert f"each query sees up to {ahead} later keys" in found.message
    assert f"{ahead} too far" in found.hint


@pytest.mark.parametrize("ahead", [1, 2])
@pytest.mark.parametrize("left", [False, True])
def test_a_diagonal_too_far_beside_padding(ahead, left):
    padded = torch.arange(SIZE) < torch.tensor([SIZE, 8])[:, None]
    keep = ONES.tril(ahead) & (padded.flip(-1) if left else padded)[:, None, None]
    found = finding(CHECK, square(keep))
    assert found.severity == ("warning" if ahead == 1 else "info")
    assert f"{'one' if ahead == 1 else ahead} too far" in found.hint


def unattended(keep):
    """What Hugging Face's AttentionMaskConverter makes of it: rows that see no key see all of them."""
    return keep | ~keep.any(dim=-1, keepdim=True)


@pytest.mark.parametrize("pads", [[0, 1], [0, 2], [0, 5], [3, 0], [0, 0, 1], [0, 9, 4]])
@pytest.mark.parametrize("is_additive", [False, True])
def test_rows_of_padding_that_were_given_all_keys(pads, is_additive):
    left = (torch.arange(SIZE) >= torch.tensor(pads)[:, None])[:, None, None]
    keep = unattended(CAUSAL & left)
    rules = {"bias": additive(keep, torch.finfo(torch.float32).min)} if is_additive else {"keep": keep}
    assert findings(CHECK, case(len(pads), queries=SIZE, keys=SIZE, **rules)) == ()


def test_a_leak_beside_rows_that_were_given_all_keys():
    keep = unattended(CAUSAL & (torch.arange(SIZE) >= torch.tensor([0, 3])[:, None])[:, None, None])
    keep[1, 0, 6, 8] = True
    found = finding(CHECK, square(keep))
    assert (found.place, found.count) == (Place("mask", batch=1, query=6, key=8), 1)


def test_a_row_of_text_that_sees_all_keys_is_no_padding():
    keep = CAUSAL.clone()
    keep[..., 0, :] = True
    found = finding(CHECK, square(keep))
    assert (found.place, found.count) == (Place("mask", query=0, key=1), SIZE - 1)


def test_batch_items_and_heads_that_differ_are_named():
    keep = CAUSAL.repeat(2, 3, 1, 1)
    keep[1, 2, 4, 8] = True
    found = finding(CHECK, square(keep))
    assert (found.place, found.count) == (Place("mask", batch=1, head=2, query=4, key=8), 1)
    part = Selection(batch=(1,), heads=(0, 2), queries=(4, 5))
    assert finding(CHECK, replace(square(keep), selection=part)).place == found.place
    assert findings(CHECK, replace(square(keep), selection=Selection(batch=(0,)))) == ()


@pytest.mark.parametrize("offset", [0, 5])
def test_the_place_of_a_query_is_respected(offset):
    keep = torch.ones(7, SIZE, dtype=torch.bool).tril(offset)[None, None]
    call = case(queries=7, keys=SIZE, keep=keep)
    assert findings(CHECK, call) == ()
    keep[0, 0, 3, 3 + offset + 2] = True
    found = finding(CHECK, call)
    assert found.place == Place("mask", query=3, key=3 + offset + 2)
    assert f"after its own place {3 + offset}" in found.message


def test_padding_beside_causal_order():
    lens = torch.tensor([SIZE, 4])
    keep = CAUSAL & (torch.arange(SIZE) < lens[:, None])[:, None, None]
    assert findings(CHECK, square(keep)) == ()
    keep[1, 0, 1, 3] = True
    assert findings(CHECK, square(keep, causal=True)) == ()  # causal order hides the cell


def pairs(*blocks):
    keep = CAUSAL.clone()
    for first, behind in blocks:
        keep[..., first:behind, first:behind] = True
    return keep


@pytest.mark.parametrize(
    "keep",
    [
        CAUSAL,
        ONES[None, None],
        pairs((0, 5)),  # a prefix
        pairs((1, 4), (6, 9)),  # images
        (ONES.tril(2) & ONES.triu(-2))[None, None],  # a window to both sides
        (ONES.tril(1) & ONES.triu(-2))[None, None],
        torch.block_diag(*[torch.ones(n, n) for n in (1, 1, 2, 1, 3, 4)]).bool()[None, None],  # packed texts
        (torch.arange(SIZE) < 5).expand(1, 1, SIZE, SIZE),  # padding, spelled out
        (torch.arange(SIZE) < 5)[None, None, None],
        ~CAUSAL,
    ],
)
def test_masks_that_are_not_meant_to_be_causal(keep):
    assert findings(CHECK, square(keep)) == ()


def test_two_queries_that_see_each_other_are_no_image():
    assert finding(CHECK, square(pairs((4, 6)))).place == Place("mask", query=4, key=5)


def test_a_window_to_the_right_that_was_asked_for():
    assert findings(CHECK, case(queries=SIZE, keys=SIZE, window=(4, 1))) == ()
    assert findings(CHECK, case(queries=2, keys=2, keep=torch.ones(1, 1, 2, 2, dtype=torch.bool))) == ()


def test_a_small_sparse_mask_is_causal_by_chance():
    keep = torch.eye(5, dtype=torch.bool)
    keep[[1, 2, 3, 4, 4], [0, 1, 0, 1, 3]] = True  # half of the earlier cells
    keep[1, 3] = True
    assert findings(CHECK, case(queries=5, keys=5, keep=keep[None, None])) == ()


@pytest.mark.parametrize("later", [4, 6])
def test_earlier_keys_must_be_many_times_as_many_as_later_ones(later):
    keep = (torch.ones(20, 20).tril() * torch.ones(20, 20).triu(-1)).bool()  # 19 earlier cells
    keep[torch.arange(later) * 2, torch.arange(later) * 2 + 5] = True
    found = findings(CHECK, case(queries=20, keys=20, keep=keep[None, None]))
    assert [one.count for one in found] == ([later] if 4 * later <= 19 else [])
