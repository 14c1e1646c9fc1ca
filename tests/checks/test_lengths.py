"""ATTN012: valid lengths that do nothing, or the wrong thing."""

import torch

from attn_cli.checks.rules.lengths import IdleLengths
from attn_cli.inspection.types import Place
from tests.checks.cases import case, finding, findings
from tests.checks.healthy import additive

CHECK = IdleLengths()
LENGTHS = torch.tensor([8, 5])
PADDED = (torch.arange(8) < LENGTHS[:, None])[:, None, None]


def test_lengths_that_exclude_nothing():
    for lens in (torch.tensor([8, 8]), torch.full((2, 8), 8)):
        found = finding(CHECK, case(valid_lens=lens))
        assert (found.code, found.severity, found.count) == ("ATTN012", "info", lens.numel())
        assert found.place == Place("valid_lens")
        assert "all valid lengths are 8, the number of keys: they exclude nothing" in found.message


def test_lengths_that_exclude_everything():
    found = finding(CHECK, case(valid_lens=torch.tensor([0, 0])))
    assert (found.severity, found.place.batch) == ("warning", 0)
    assert "no query may attend to any key" in found.message


def test_lengths_that_a_mask_makes_void():
    for rules in ({"keep": PADDED}, {"bias": additive(PADDED, -1e9)}):
        found = finding(CHECK, case(valid_lens=LENGTHS, **rules))
        assert found.severity == "info"
        assert "hide no key that" in found.message
    top_left = case(queries=3, causal=True, align="top-left", valid_lens=LENGTHS)
    assert finding(CHECK, top_left).severity == "info"  # queries 0 to 2 see keys 0 to 2 alone


def test_lengths_beside_padding_on_the_left():
    left = PADDED.flip(-1)
    for rules in ({"keep": left}, {"keep": left.expand(2, 1, 8, 8)}, {"bias": additive(left)}):
        found = finding(CHECK, case(valid_lens=LENGTHS, **rules))
        assert (found.severity, found.place) == ("warning", Place("valid_lens", batch=1))
        assert "of batch item 1 it hides the first 3, and the length 5 hides the last 3" in found.message
        assert "leave the valid lengths out" in found.hint


def test_lengths_that_hide_something():
    assert findings(CHECK, case(valid_lens=LENGTHS)) == ()
    assert findings(CHECK, case(valid_lens=torch.tensor([8, 0]))) == ()
    assert findings(CHECK, case(valid_lens=LENGTHS, causal=True)) == ()
    assert findings(CHECK, case(valid_lens=LENGTHS.flip(0), keep=PADDED)) == ()
    assert findings(CHECK, case(valid_lens=torch.arange(1, 17).clamp(max=8).view(2, 8))) == ()
    assert findings(CHECK, case()) == ()
