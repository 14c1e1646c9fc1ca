"""What a call gives under other rules, against the textbook."""

from dataclasses import replace

import pytest
import torch

from attn_cli.attention import textbook
from attn_cli.attention.selection import Selection
from attn_cli.checks import evidence as evidence_module
from attn_cli.checks import readings
from attn_cli.checks.patterns import chosen
from attn_cli.checks.readings import output_change, output_under, rules_with
from tests.checks.cases import case, evidence

UPPER = torch.ones(8, 8).triu(1).bool()[None, None]


def inverted(seen, kind):
    """The rules with the mask, or the bias, read the other way round."""
    (part,) = (part for part in seen.parts if part.kind == kind)
    return rules_with(seen, {part: part.inverted()})


def both(call, **options):
    """Evidence, and its rules with the mask inverted."""
    seen = evidence(call, **options)
    return seen, inverted(seen, "mask")


@pytest.mark.parametrize("selection", [Selection(), Selection(batch=(1,), heads=(2, 0), queries=(3, 6))])
def test_the_change_is_the_largest_difference_and_its_place(selection):
    seen, other = both(case(keep=~UPPER, selection=selection))
    before, after = (textbook.attend(x).output for x in (seen.inputs, replace(seen.inputs, rules=other)))
    torch.testing.assert_close(output_under(seen.inputs, other), after)
    change = output_change(seen, other)
    apart = (before - after).abs()
    item, head, query, feature = (int(n) for n in torch.unravel_index(apart.argmax(), apart.shape))
    place, index = change.place, seen.index
    assert change.largest == pytest.approx(float(apart.max()), abs=1e-5)
    assert (place.batch, place.head) == (index.batch[item], index.heads[head])
    assert (place.query, place.feature) == (int(index.queries[query]), feature)
    assert f"batch {place.batch}, head {place.head}, query {place.query}" in change.text


def test_a_place_that_is_finite_in_one_reading_alone_does_not_count():
    call = case(keep=~UPPER)
    call.inputs.v[:, :, 7] = torch.nan
    assert output_change(*both(call)) is None  # 0 · NaN reaches every row
    assert output_change(evidence(case()), evidence(case()).inputs.rules).text == "stays the same"


def test_long_calls_are_sampled_and_say_so(monkeypatch):
    monkeypatch.setattr(readings, "MOST_SCORES", 100)
    monkeypatch.setattr(evidence_module, "SAMPLED_ROWS", 3)
    seen, other = both(case(keep=~UPPER))
    change = output_change(seen, other)
    apart = (textbook.attend(seen.inputs).output - output_under(seen.inputs, other)).abs()[:, :, [0, 4, 7]]
    assert seen.sampled_rows == (0, 4, 7)
    assert change.is_sampled
    assert change.largest == pytest.approx(float(apart.max()), abs=1e-5)
    assert change.place.query in (0, 4, 7)
    assert "in a sample of the query rows" in change.text


def test_both_kinds_of_mask_are_inverted():
    seen = evidence(case(keep=~UPPER, bias=torch.zeros(1, 1, 8, 8).masked_fill(UPPER, -1e9)))
    assert torch.equal(inverted(seen, "mask").mask.keep, UPPER)
    assert torch.equal(inverted(seen, "bias").bias, torch.zeros(1, 1, 8, 8).masked_fill(~UPPER, -1e9))
    assert torch.equal(inverted(seen, "bias").mask.keep, ~UPPER)


def test_the_selected_part_of_a_mask():
    call = case(4, 3, 8, 8, selection=Selection((2, 0), None, (7, 1)))
    index = evidence(call).index
    x = torch.randn(4, 1, 8, 8)
    assert torch.equal(chosen(x, index), x[[2, 0]][:, :, [7, 1]])
    assert torch.equal(chosen(x[:1, :, :1], index), x[:1, :, :1])
