"""ATTN004: what the other alignment does to the output."""

import pytest
import torch

from attn_cli.attention import textbook
from attn_cli.checks.rules.alignment import UndecidedAlignment
from attn_cli.inspection.types import Place
from tests.checks.cases import case, evidence, finding, findings

CHECK = UndecidedAlignment()


@pytest.mark.parametrize("rules", [{"causal": True}, {"window": (2, 0)}])
def test_the_size_of_the_change_is_told_with_its_place(rules):
    call = case(queries=3, align_chosen=False, **rules)
    found = finding(CHECK, call)
    before = textbook.attend(evidence(call).inputs).output
    after = textbook.attend(evidence(case(queries=3, align="top-left", **rules)).inputs).output
    apart = (before - after).abs()
    batch, head, query, _ = (int(n) for n in torch.unravel_index(apart.argmax(), apart.shape))
    assert (found.code, found.severity, found.place) == ("ATTN004", "info", Place(query=0))
    assert found.count == 30
    end = f"the output changes by up to {float(apart.max()):.3g} (batch {batch}, head {head}, query {query})"
    assert found.message.endswith(end)


def test_a_choice_and_a_square_call_are_left_alone():
    assert findings(CHECK, case(queries=3, causal=True)) == ()
    assert findings(CHECK, case(causal=True, align_chosen=False)) == ()
    assert findings(CHECK, case(queries=3, align_chosen=False)) == ()
