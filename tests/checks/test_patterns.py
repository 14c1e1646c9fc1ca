"""What masks leave visible, counted in blocks of rows, against all cells at once."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attn_cli.attention.masks import MaskRule, aligned_places
from attn_cli.attention.types import Rules
from attn_cli.checks import CHECKS
from attn_cli.checks import cells as module
from attn_cli.checks.patterns import Pattern, count_seen, every_part, hiding_constants, tell
from tests.checks.cases import case, evidence


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 999), st.integers(1, 60), st.integers(-3, 6))
def test_rows_are_measured_cell_by_cell(queries, keys, seed, at_once, offset):
    generator = torch.Generator().manual_seed(seed)
    keep = torch.rand(2, 3, queries, keys, generator=generator) < 0.4
    before, module.CELLS_AT_ONCE = module.CELLS_AT_ONCE, at_once
    try:
        pattern = Pattern("mask", keep, keys)
        seen, order = pattern.visible, pattern.cells.order(offset)
    finally:
        module.CELLS_AT_ONCE = before
    assert torch.equal(seen.keys, keep.any(dim=2))
    for place in torch.cartesian_prod(torch.arange(2), torch.arange(3), torch.arange(queries)).tolist():
        b, h, i = place
        row, own = keep[b, h, i].nonzero().flatten().tolist(), i + offset
        later = [key for key in row if key > own]
        assert int(seen.count[b, h, i]) == len(row)
        assert int(seen.first[b, h, i]) == (row[0] if row else keys)
        assert int(seen.behind[b, h, i]) == (row[-1] + 1 if row else 0)
        assert bool(seen.is_prefix[b, h, i]) == (row == list(range(len(row))))
        assert bool(seen.is_suffix[b, h, i]) == (row == list(range(keys - len(row), keys)))
        assert int(order.before[b, h, i]) == sum(key < own for key in row)
        assert int(order.after[b, h, i]) == len(later)
        assert bool(order.own[b, h, i]) == (own in row)
        assert bool(order.next[b, h, i]) == (own + 1 in row)
        assert int(order.first_after[b, h, i]) == (later[0] if later else keys)
        assert int(order.last_after[b, h, i]) == (later[-1] if later else -1)


def test_a_bias_is_a_mask_as_far_as_few_numbers_hide():
    mask = MaskRule(6, torch.arange(4))
    bias = torch.randn(1, 1, 4, 6)
    assert not every_part(Rules(mask, bias=bias))[0].hides
    bias[0, 0, 1, 2], bias[0, 0, 3, 4] = -torch.inf, -1e9
    (pattern,) = every_part(Rules(mask, bias=bias))
    assert (pattern.name, pattern.hides) == ("bias", True)
    assert (~pattern.tile()).nonzero().tolist() == [[0, 0, 1, 2], [0, 0, 3, 4]]
    assert hiding_constants(bias) == (-torch.inf, -1e9)
    assert hiding_constants(-1000.0 * torch.arange(1, 9).view(1, 1, 2, 4)) == ()  # distances
    assert hiding_constants(torch.tensor([[[[0.0, 1.0, torch.nan]]]]), highest=torch.inf) == (0.0, 1.0)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 7), st.integers(1, 7), st.booleans(), st.booleans(), st.booleans(), st.booleans())
def test_all_rules_together_are_told(queries, keys, causal, lens, keep, bias):
    generator = torch.Generator().manual_seed(queries * 10 + keys)
    hides = torch.where(torch.rand(1, 3, queries, keys, generator=generator) < 0.3, -1e9, 0.0) if bias else None
    mask = MaskRule(
        keys,
        aligned_places(queries, keys),
        valid_lens=torch.randint(0, keys + 1, (2,), generator=generator) if lens else None,
        keep=torch.rand(2, 1, queries, keys, generator=generator) < 0.7 if keep else None,
        causal=causal,
    )
    tile = mask.tile()
    cells = torch.ones(1, 1, queries, keys, dtype=torch.bool) if tile is None else tile
    cells = cells if hides is None or not bool((hides < 0).any()) else cells & (hides == 0)
    cells = cells.expand(*cells.shape[:2], queries, keys)
    rules = Rules(mask, bias=hides)
    assert (count_seen(mask, [one for one in every_part(rules) if one.hides]) == cells.sum(dim=-1)).all()
    told = tell(rules)
    each = told.cells // cells.numel()  # lengths that hide nothing may still differ by item
    assert told.cells == each * cells.numel()
    assert told.visible == each * int(cells.sum())
    assert told.empty == each * int((~cells.any(dim=-1)).sum())


def test_what_is_told_reads_well():
    mask = MaskRule(2, torch.arange(2), keep=torch.tensor([[[[True, False], [False, False]]]]))
    assert tell(Rules(mask)).text == "1 of 4 cells are visible and 1 query row is empty"
    assert tell(Rules(MaskRule(2, torch.arange(2)))).text == "4 of 4 cells are visible and no query row is empty"
    none = MaskRule(2, torch.arange(2), keep=torch.zeros(1, 1, 2, 2, dtype=torch.bool))
    assert tell(Rules(none)).text == "0 of 4 cells are visible and 2 query rows are empty"


def test_a_mask_is_walked_once(monkeypatch):
    """For what its rows see, however many rules ask; its order is told from that where nothing lies on both sides."""
    rows = []
    tile = Pattern.tile
    monkeypatch.setattr(Pattern, "tile", lambda self, some: rows.append(some) or tile(self, some))
    seen = evidence(case(keep=torch.ones(8, 8).tril().bool()[None, None]))
    for check in CHECKS:
        assert tuple(check.find(seen)) == ()
    assert len(rows) == 2  # what they see, and the two cells at each query's own place
    assert seen.spread is seen.spread
