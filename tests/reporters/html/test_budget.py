"""The file never has more bytes than its budget, unless the least that it tells has; then it says so."""

from dataclasses import replace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from attn_cli.inspection.budget import LEAST, BudgetPlanner, CallSize
from attn_cli.reporters.html.budget import levels
from attn_cli.reporters.html.fitting import most_that_fits
from attn_cli.reporters.html.page import Parts
from tests.attention.calls import make_call
from tests.reporters.html.pages import PARTS, bytes_of, call_of, written
from tests.reporters.results_for_tests import Case

WORDS = 14_000


def planned(sizes, budget):
    """What each call of these sizes gives, planned one after another as they are loaded."""
    planner = BudgetPlanner(budget - PARTS.size - WORDS, [size.queries * size.keys for size in sizes])
    return [planner.plan(size) for size in sizes]


def inspected(size, detail, seed, *, causal, tokens=None):
    call = make_call(
        size.batch, size.heads, queries=size.queries, keys=size.keys, features=2, dtype=torch.float32, seed=seed,
        causal=causal, scale=4.0,
    )  # fmt: skip
    case = Case(size.batch, size.heads, size.queries, size.keys, tokens=tokens, layer=seed)
    return call_of(call, detail, case, picture_rows=detail.picture_rows, picture_columns=detail.picture_columns)


sizes = st.builds(CallSize, st.integers(1, 2), st.integers(1, 4), st.integers(1, 200), st.integers(1, 200))


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(sizes, min_size=1, max_size=3), st.integers(20_000, 400_000), st.booleans())
def test_a_page_keeps_its_budget_or_tells_the_least(tmp_path, sizes, budget, causal):
    details = planned(sizes, budget)
    calls = [inspected(*one, seed, causal=causal) for seed, one in enumerate(zip(sizes, details, strict=True))]
    page, warning, data = written(tmp_path, *calls, budget=budget)
    payload = page.payload
    assert payload["budget"] == {"bytes": budget, "kept": warning is None}
    if warning is None:
        assert len(data) <= budget
        assert "larger than asked for" not in payload["note"]
        return
    assert len(data) > budget
    assert warning in payload["note"]
    for call in payload["calls"]:
        assert call["exact_kind"] == "none"
        assert max(call["picture"]["rows"], call["picture"]["columns"]) <= LEAST


@settings(deadline=None, max_examples=60)
@given(st.lists(sizes, min_size=1, max_size=5), st.integers(1, 4_000_000))
def test_a_picture_has_cells_for_what_there_is(sizes, budget):
    for size, detail in zip(sizes, planned(sizes, budget), strict=True):
        assert min(size.queries, LEAST) <= detail.picture_rows <= size.queries
        assert min(size.keys, LEAST) <= detail.picture_columns <= size.keys
        if detail.whole:
            assert (detail.picture_rows, detail.picture_columns) == (size.queries, size.keys)


@settings(deadline=None, max_examples=40)
@given(sizes, st.integers(20_000, 2_000_000), st.integers(1, 2_000_000))
def test_more_room_tells_no_less(size, budget, more):
    (little,), (much,) = planned([size], budget), planned([size], budget + more)
    assert much.whole >= little.whole
    assert much.whole or much.pairs >= little.pairs


def test_small_calls_leave_their_room_to_the_large_ones():
    """A prompt of 400 tokens and the 40 steps after it: each step's weights are few, and the prompt gets the rest."""
    sizes = [CallSize(1, 4, 400, 400), *(CallSize(1, 4, 1, 401 + step) for step in range(40))]
    prompt, *steps = planned(sizes, 2_000_000)
    assert all(step.whole for step in steps)
    assert prompt.picture_rows >= 200
    assert prompt.pairs > 0


def test_equal_calls_get_equal_shares():
    details = planned([CallSize(1, 12, 512, 512)] * 6, 2_000_000)
    sides = [detail.picture_rows for detail in details]
    assert max(sides) - min(sides) <= 2
    assert len({replace(detail, picture_rows=0, picture_columns=0) for detail in details}) == 1


@pytest.mark.parametrize("tokens", [512, 16_384, 131_072])
@pytest.mark.parametrize("visible", [0.5, 1.0])
def test_twelve_long_heads_get_pictures_and_windows(tokens, visible):
    (detail,) = planned([CallSize(1, 12, tokens, tokens, visible=visible)], 1_900_000)
    assert detail.picture_rows >= 256
    assert detail.pairs == 3
    assert detail.corners


def test_a_row_is_given_where_it_fits():
    (short,) = planned([CallSize(1, 12, 1024, 1024)], 2_000_000)
    (long,) = planned([CallSize(1, 12, 65_536, 65_536)], 2_000_000)
    assert short.strongest_row
    assert not long.strongest_row


def test_tokens_take_their_room():
    (with_text,) = planned([CallSize(1, 12, 65_536, 65_536, text=900_000)], 2_000_000)
    (without,) = planned([CallSize(1, 12, 65_536, 65_536)], 2_000_000)
    assert with_text.picture_rows < without.picture_rows


@pytest.mark.parametrize("causal", [True, False])
def test_twelve_random_heads_of_512_tokens_fill_most_of_two_megabytes(tmp_path, causal):
    size = CallSize(1, 12, 512, 512, visible=0.5 if causal else 1.0)
    (detail,) = planned([size], 2_000_000)
    page, warning, data = written(tmp_path, inspected(size, detail, 0, causal=causal), budget=2_000_000)
    assert warning is None
    assert 1_000_000 < len(data) <= 2_000_000
    (call,) = page.payload["calls"]
    assert call["exact_kind"] == "windows"
    assert {window["kind"] for window in call["heads"][0]["windows"]} > {"pair", "row"}


def test_levels_lead_from_all_to_the_least():
    found = list(levels(100))
    assert (found[0].shrink, found[0].windows) == (1, "all")
    assert [level.shrink for level in found] == sorted(level.shrink for level in found)
    assert 100 / found[-1].shrink <= LEAST
    assert found[-1].windows == "none"


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=12, unique=True), st.integers(0, 1001))
def test_the_page_is_that_of_the_first_level_that_fits_and_few_are_made(sizes, budget):
    sizes, made = sorted(sizes, reverse=True), []

    def page(level):
        made.append(level)
        return b"x" * sizes[level]

    data, fits = most_that_fits(page, range(len(sizes)), budget)
    fitting = [size for size in sizes if size <= budget]
    assert (len(data), fits) == ((fitting[0], True) if fitting else (sizes[-1], False))
    assert len(set(made)) == len(made) <= 2 + len(sizes).bit_length()


def test_a_script_larger_than_the_budget_is_said(tmp_path):
    from attn_cli.reporters.html import write_page
    from attn_cli.results import RunResult

    parts = Parts(PARTS.template, PARTS.style, "x" * 50_000)
    done = write_page(RunResult("run", (call_of(make_call()),)), str(tmp_path / "p.html"), 30_000, parts)
    assert "more than the 30 kB of --html-budget" in done.warning


def test_blobs_of_the_least_page_are_whole(tmp_path):
    page, _, _ = written(tmp_path, call_of(make_call(queries=40, keys=40)), budget=1)
    (call,) = page.payload["calls"]
    for head in call["heads"]:
        assert len(bytes_of(head["cells"])) == call["picture"]["rows"] * call["picture"]["columns"]


def test_a_text_that_calls_share_takes_its_room_once():
    """So that the second call of it gets as much as the first."""
    first, second = planned([CallSize(1, 12, 4096, 4096, text=300_000)] * 2, 2_000_000)
    (alone,) = planned([CallSize(1, 12, 4096, 4096)], 2_000_000 - 300_000)
    assert abs(first.picture_rows - second.picture_rows) <= first.picture_rows // 20
    assert 0.6 * alone.picture_rows < second.picture_rows < alone.picture_rows  # half of what is left: 0.7 of a side


def test_a_small_picture_beside_a_large_one_takes_its_room():
    """All that a head is given together takes no more than its share, also where a picture nearly fills it."""
    size, seen = CallSize(1, 1, 200, 200), 0
    for budget in range(30_000, 300_000, 250):
        planner = BudgetPlanner(budget, [1.0])
        detail = planner.plan(size)
        share = budget - 6_000 - 800 - 10 * 30
        cells = (200 // -(-200 // detail.picture_rows)) ** 2
        floats = (detail.pairs + 2 * detail.corners) * (detail.side + 2) * detail.side + detail.strongest_row * 200
        if not detail.whole and cells > 2**14:
            assert cells * 0.9 + floats * 16 / 3 + 64 * 64 <= share
            seen += 1
    assert seen > 10


def test_a_map_of_differences_takes_its_room():
    (one,), (both,) = (planned([CallSize(1, 8, 2048, 2048, maps=maps)], 2_000_000) for maps in (1.0, 1.5))
    assert both.picture_rows**2 == pytest.approx(one.picture_rows**2 / 1.5, rel=0.05)
