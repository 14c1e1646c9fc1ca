"""ATTN020: padding that gets weight, against the textbook's weights."""

from dataclasses import replace

import pytest
import torch

from attn_cli.attention import textbook
from attn_cli.attention.selection import Selection
from attn_cli.checks.evidence import Surroundings
from attn_cli.checks.rules.padding import PaddingSeen
from attn_cli.inspection.types import Place
from tests.checks.cases import case, changed, evidence, finding, findings

CHECK = PaddingSeen()
LENGTHS = torch.tensor([8, 5, 6])
REAL = torch.arange(8) < LENGTHS[:, None]  # (B, Sk)
IDS = torch.where(REAL, torch.arange(1, 25).view(3, 8), 0)


def shares_of(call, real):
    """The weight on padding in each real row, ``(B, Hq, Sq)``; −1 in padding's own rows."""
    steps = textbook.attend(evidence(call).inputs)
    share = (steps.weights * ~real[:, None, None]).sum(dim=-1)
    return torch.where(real[:, None], share, -1.0) if share.shape[2] == real.shape[1] else share


@pytest.mark.parametrize("left", [False, True])
def test_padding_that_token_ids_show(left):
    ids, real = (IDS.flip(-1), REAL.flip(-1)) if left else (IDS, REAL)
    call = case(3, token_ids=ids)
    shares, found = shares_of(call, real), finding(CHECK, call)
    batch, head, query = (int(n) for n in torch.unravel_index(shares.argmax(), shares.shape))
    of_item = shares[batch][shares[batch] >= 0]
    assert (found.code, found.severity, found.count) == ("ATTN020", "warning", 5)
    assert found.place == Place(batch=batch, head=head, query=query, key=0 if left else int(LENGTHS[batch]))
    size = 8 - int(LENGTHS[batch])
    where = "begins" if left else "ends"
    assert f"batch item {batch} {where} with {size} keys of padding (token id 0)" in found.message
    assert (
        f"{float(of_item.mean()):.1%} of the weight on average and {float(shares.max()):.1%} at most" in found.message
    )
    assert ("mask of shape (3, 1, 1, 8)" if left else "--valid-lens 8,5,6") in found.hint


def test_left_padding_under_causal_order():
    found = finding(CHECK, case(3, token_ids=IDS.flip(-1), causal=True))
    assert found.place.key == 0
    assert findings(CHECK, case(3, token_ids=IDS, causal=True)) == ()  # only padding sees padding on the right


@pytest.mark.parametrize(
    "rules",
    [
        {"valid_lens": LENGTHS},
        {"keep": REAL[:, None, None]},
        {"bias": torch.zeros(3, 1, 1, 8).masked_fill(~REAL[:, None, None], -1e9)},
        {"keep": REAL[:, None, None] & torch.ones(8, 8).tril().bool()},
        {"keep": ~REAL[:, None, None]},  # text hidden too: that is the polarity's finding
    ],
)
def test_padding_that_is_hidden(rules):
    assert findings(CHECK, case(3, token_ids=IDS, **rules)) == ()


def test_a_mask_that_forgets_one_item():
    keep = REAL[:, None, None].clone()
    keep[2] = True
    found = finding(CHECK, case(3, token_ids=IDS, keep=keep))
    assert (found.place.batch, found.place.key, found.count) == (2, 6, 2)
    assert found.message.startswith("1 batch item has padding")


def test_cross_attention_has_no_query_in_the_padding():
    call = case(3, queries=5, token_ids=IDS)
    shares, found = shares_of(call, REAL), finding(CHECK, call)
    assert f"{float(shares.max()):.1%} at most" in found.message


def test_the_token_that_ends_a_text_also_pads():
    ids = IDS.clone()
    ids[ids == 0] = 99
    ids[0, 7] = 99
    found = finding(CHECK, case(3, token_ids=ids))
    assert found.count == 2 + 1
    assert "token id 99" in found.message


@pytest.mark.parametrize(
    "ids",
    [
        torch.arange(1, 25).view(3, 8),
        torch.tensor([[1, 2, 3, 4, 5, 6, 7, 99]] * 3),  # each text ends in the same token
        torch.tensor([[1, 2, 3, 4, 5, 6, 9, 9], [1, 2, 3, 4, 5, 6, 7, 8], [1, 9, 3, 4, 5, 6, 7, 8]]),  # 9 is a word
        torch.tensor([[7] * 8] * 3),
    ],
)
def test_ids_that_show_no_padding(ids):
    assert findings(CHECK, case(3, token_ids=ids)) == ()


def test_one_text_needs_a_longer_run():
    ids = torch.tensor([[1, 2, 3, 4, 5, 9, 9, 9]])
    assert findings(CHECK, case(1, token_ids=ids)) == ()
    ids[0, 4] = 9
    assert finding(CHECK, case(1, token_ids=ids)).count == 4


def padded_keys(call, value):
    k = call.inputs.k.clone()
    k[~REAL[:, None].expand(k.shape[:3])] = value
    return changed(call, k=k)


@pytest.mark.parametrize("value", [0.0, 0.25])
def test_padding_that_identical_keys_show(value):
    found = finding(CHECK, padded_keys(case(3, 4, kv_heads=2), value))
    assert found.count == 5
    assert ("keys of zeros" if value == 0 else "keys that are all the same") in found.message
    assert findings(CHECK, padded_keys(case(3, 4, kv_heads=2, valid_lens=LENGTHS), value)) == ()


def test_a_cache_that_is_not_yet_full():
    call = case(1, 2, queries=1, keys=9)
    k = call.inputs.k.clone()
    k[:, :, 7:] = 0
    found = finding(CHECK, changed(call, k=k))
    assert (found.place.key, found.count) == (7, 2)
    assert "--valid-lens 7" in found.hint


def test_keys_that_show_no_padding():
    call = case(3)
    k = call.inputs.k.clone()
    k[1, 0, 5:] = 0.0  # in one head of three
    k[2, :, -1:] = 0.0  # one key
    assert findings(CHECK, changed(call, k=k)) == ()
    assert findings(CHECK, changed(call, k=torch.ones_like(k))) == ()


def test_a_selection_is_named_in_the_numbers_of_the_whole_call():
    call = replace(case(3, token_ids=IDS), selection=Selection(batch=(2,), heads=(1,), queries=(4, 7)))
    found = finding(CHECK, call)
    assert found.place == Place(batch=2, head=1, query=4, key=6)
    assert "batch item 2 ends with 2 keys" in found.message
    assert found.hint == "Give valid lengths, or a mask that hides the padding."


@pytest.mark.parametrize(
    "ids",
    [
        [[5, 6, 7, 8, 9, 3, 3], [4, 2, 8, 1, 10, 11, 12]],  # a text that ends in "!!"
        [[5, 6, 7, 8, 9, 3, 3], [4, 2, 8, 1, 10, 8, 3]],  # and one that ends in "!"
        [[0, 0, 7, 8, 9, 13, 15], [0, 2, 8, 1, 10, 11, 12]],
    ],
)
def test_a_token_that_is_repeated_is_no_padding(ids):
    assert findings(CHECK, case(2, queries=7, keys=7, token_ids=torch.tensor(ids))) == ()


def test_runs_in_several_items_are_padding_and_so_is_a_long_one():
    short = torch.tensor([[5, 6, 7, 8, 0, 0, 0], [4, 2, 8, 1, 10, 0, 0]])
    assert finding(CHECK, case(2, queries=7, keys=7, token_ids=short)).count == 5
    long = torch.tensor([[5, 6, 7, 0, 0, 0, 0], [4, 2, 8, 1, 10, 11, 12]])
    found = finding(CHECK, case(2, queries=7, keys=7, token_ids=long))
    assert (found.severity, found.count) == ("warning", 4)


def test_a_token_three_times_in_one_of_two_items_is_worth_a_note():
    ids = torch.tensor([[5, 6, 7, 8, 3, 3, 3], [4, 2, 8, 1, 10, 11, 12]])
    found = finding(CHECK, case(2, queries=7, keys=7, token_ids=ids))
    assert (found.severity, found.count) == ("info", 3)
    assert "if the text itself repeats the token" in found.hint
    assert "--valid-lens 4,7" in found.hint


def test_keys_of_one_number_may_be_the_same_by_chance():
    call = case(2, queries=9, keys=9, dim=1, kv_heads=1)
    k = call.inputs.k.clone()
    k[1, :, -4:] = 0.5
    assert findings(CHECK, changed(call, k=k)) == ()
    k[1, :, -4:] = 0.0
    assert finding(CHECK, changed(call, k=k)).count == 4


@pytest.mark.parametrize(("constant", "number"), [(-6.0, 1), (-13.0, 0)])
def test_a_trace_of_weight_is_a_leaking_constants_business(constant, number):
    bias = torch.zeros(3, 1, 1, 8).masked_fill(~REAL[:, None, None], constant)
    found = findings(CHECK, case(3, token_ids=IDS, bias=bias))
    assert len(found) == number
    assert all(float(one.message.split("and ")[-1].split("%")[0]) < 10 for one in found)


def in_file(call, **surroundings):
    """What is found in a call of a file with others."""
    with torch.no_grad():
        return tuple(CHECK.find(replace(evidence(call), surroundings=Surroundings(**surroundings))))


def decoding(ids, **rules):
    ids = torch.tensor(ids)
    return case(len(ids), 2, queries=1, keys=ids.shape[1], token_ids=ids, **rules)


FINISHED = [[5, 6, 7, 8, 9, 0, 0, 0, 0], [4, 2, 8, 1, 10, 11, 12, 0, 0]]  # both went on after their end


def test_a_decoding_query_that_is_padding_itself_gives_no_alarm():
    assert findings(CHECK, decoding(FINISHED)) == ()
    later = [[5, 6, 7, 8, 0, 0, 0, 0, 0], [4, 2, 8, 1, 10, 11, 12, 13, 14]]
    assert findings(CHECK, decoding(later)) == ()


def test_a_decoding_query_that_repeats_its_token_gives_no_alarm():
    assert findings(CHECK, decoding([[3, 5, 1, 39, 39, 39, 39, 39], [4, 2, 8, 1, 82, 82, 82, 82]])) == ()


def test_a_decoding_query_that_sees_padding_before_the_text_is_told_of():
    found = finding(CHECK, decoding([[0, 0, 0, 8, 9, 3], [0, 0, 8, 1, 10, 11]]))
    assert (found.severity, found.count) == ("warning", 5)


@pytest.mark.parametrize("queries", [1, 5])
def test_what_an_encoder_padded_is_no_place_of_the_decoders_queries(queries):
    call = case(3, queries=queries, token_ids=IDS)
    shares = shares_of(call, REAL)
    (found,) = in_file(call, calls=4, keys_stay=True)
    assert f"{float(shares.max()):.1%} at most" in found.message


def test_several_queries_of_a_cache_stand_at_its_end():
    order = torch.ones(5, 8).tril(3).bool()[None, None]
    assert findings(CHECK, case(3, queries=5, token_ids=IDS, keep=order)) == ()


@pytest.mark.parametrize(
    ("ids", "severity"),
    [([5, 6, 7, 8, 39, 39, 39, 39], "info"), ([5, 6, 7, 8, 0, 0, 0, 0], "warning")],
)
def test_a_token_that_one_text_repeats_is_a_note_unless_it_is_what_most_pad_with(ids, severity):
    found = finding(CHECK, case(1, token_ids=torch.tensor([ids])))
    assert found.severity == severity
    assert ("if the text itself repeats the token" in found.hint) == (severity == "info")


def test_a_repeated_token_that_the_mask_hides_elsewhere_is_padding():
    ids = torch.tensor([[5, 6, 7, 39, 39, 39, 39, 39], [1, 2, 3, 39, 39, 39, 39, 39]])
    keep = torch.ones(2, 1, 1, 8, dtype=torch.bool)
    assert finding(CHECK, case(2, token_ids=ids, keep=keep)).severity == "info"
    keep[1, ..., 3:] = False
    assert finding(CHECK, case(2, token_ids=ids, keep=keep)).severity == "warning"


@pytest.mark.parametrize("left", [False, True])
def test_no_lengths_and_no_shape_are_named_for_a_file_of_several_calls(left):
    (found,) = in_file(case(3, token_ids=IDS.flip(-1) if left else IDS), calls=2)
    assert not any(character.isdigit() for character in found.hint)
    assert "mask" in found.hint
