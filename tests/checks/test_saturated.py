"""ATTN015: most heads look at one key each."""

import pytest
import torch

from attn_cli.attention.selection import Selection
from attn_cli.checks.rules.saturated import Saturated
from tests.checks.cases import case, changed, finding, findings


def with_saturated(heads, of=4, batch=2, **options):
    call = case(batch=batch, heads=of, **options)
    q = call.inputs.q.clone()
    q[:, heads] *= 400
    return changed(call, q=q)


def test_most_heads_saturated_is_a_warning():
    found = finding(Saturated(), with_saturated([1, 3]))
    assert (found.code, found.severity, found.count) == ("ATTN015", "warning", 4)
    assert (found.place.batch, found.place.head) == (0, 1)
    assert "4 of 8 heads in 2 batch items" in found.message


def test_a_single_saturated_head_is_healthy():
    assert findings(Saturated(), with_saturated([2])) == ()


def test_where_heads_were_left_out_it_is_worth_a_note():
    found = finding(Saturated(), with_saturated([1], selection=Selection(heads=(1,))))
    assert (found.severity, found.place.head) == ("info", 1)


def test_one_visible_key_is_no_saturation():
    assert findings(Saturated(), case(valid_lens=torch.tensor([1, 1]))) == ()
    assert findings(Saturated(), case(queries=8, keys=1)) == ()


def test_few_choices_say_nothing():
    assert findings(Saturated(), with_saturated([0, 1, 2, 3], queries=2, keys=3)) == ()


def test_sharp_heads_that_still_choose_are_nothing():
    call = case(heads=4)
    assert findings(Saturated(), changed(call, q=call.inputs.q * 4)) == ()


def test_a_broken_head_is_not_counted():
    call = with_saturated([0, 1])
    call.inputs.q[:, 2:, :, 0] = torch.nan
    assert finding(Saturated(), call).count == 4
    call.inputs.q[...] = torch.nan
    assert findings(Saturated(), call) == ()


@pytest.mark.parametrize("constant", [-torch.inf, -1e4, torch.finfo(torch.float32).min])
def test_one_key_that_an_additive_mask_leaves_is_no_saturation(constant):
    """The first step with a static cache."""
    bias = torch.zeros(1, 1, 1, 64).masked_fill(torch.arange(64) > 0, constant)
    assert findings(Saturated(), case(1, 8, 1, 64, bias=bias)) == ()
