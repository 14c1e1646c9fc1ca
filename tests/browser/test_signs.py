"""NaN, masked weights and sinks look different from a weight of zero, and are told apart in words."""

import math

import numpy as np
import pytest

from tests.browser.view import View

SIZE = (6, 10)  # queries × keys of the odd page: cross-attention
ZERO, MASKED, ROW_MASKED, NAN = (0, 3), (0, 8), (1, 2), (4, 5)


@pytest.fixture(params=["light", "dark"])
def odd(request, browser, pages):
    """Opens a head of the odd page, its cursor out of the way."""
    browser.media(prefers_color_scheme=request.param)
    return lambda head: View(browser, pages.odd()).open(head=head, q=5, k=6)


def test_a_masked_key_is_hatched_and_a_weight_of_zero_is_not(odd):
    view = odd(1)
    assert len(view.colours(*ZERO)) == 1
    assert len(view.colours(*MASKED)) > 1
    assert len(view.colours(*ROW_MASKED)) > 1
    told = view.point(*ZERO)
    assert (told.kind, told.weight) == ("exact", 0)
    told = view.point(*MASKED)
    assert told.kind == "masked"
    assert told.words == "masked"
    assert "not a weight of zero" in told.how
    assert view.point(*ROW_MASKED).kind == "masked"


def test_a_nan_has_a_colour_that_no_weight_has(odd):
    view = odd(2)
    nan = view.colours(*NAN)
    weights = [view.colours(row, key) for row, key in zip((0, 2, 3, 5, 0, 2, 3), range(7), strict=True)]
    assert len(nan) == 1
    assert all(not nan & colours for colours in weights)
    told = view.point(*NAN)
    assert (told.kind, told.words) == ("nan", "NaN")
    assert view.point(5, 0).kind == "exact"


def test_the_sink_has_a_column_of_its_own(odd):
    view = odd(3)
    box = view.picture()
    assert box["sink"] > 0
    assert box["sinkX"] + box["sink"] < box["x"]
    sinks = np.array(view.shown.data["sink_weights"])[0, 3]
    for row in (0, 3):
        told = view.point(row, -1)
        assert told.kind == "sink"
        assert "the sink" in told.pair
        assert told.weight == pytest.approx(sinks[row], abs=1e-6 if told.is_exact else 0.005)
    assert view.point(1, -1).weight == 1  # no visible key: all weight is the sink's


def test_a_head_without_a_sink_has_no_such_column(browser, pages):
    assert View(browser, pages.long()).open(head=0).picture()["sink"] == 0


def test_more_weight_stands_out_more(odd):
    view = odd(0)
    weights = np.array(view.shown.data["weights"])[0, 0, 3]
    order = sorted(range(7), key=lambda key: weights[key])
    (ground,) = view.colours(3, order[0])
    distances = [_distance(ground, *view.colours(3, key)) for key in order]
    assert distances[-1] > 150
    assert distances == sorted(distances)


def _distance(one, other):
    return math.dist(*([int(part) for part in colour.split(",")] for colour in (one, other)))


def test_cross_attention_has_its_own_axes(odd):
    view = odd(0)
    box = view.picture()
    assert view.point(5, 9).pair == "query 5 → key 9"
    assert (box["shownRows"], box["shownKeys"]) == SIZE
    assert box["width"] / 10 == pytest.approx(box["height"] / 6, rel=0.02)


def test_the_broken_head_says_so_on_its_tile_and_in_the_findings(browser, pages):
    view = View(browser, pages.odd()).open()
    assert "broken" in view.tile(0, 2).text
    assert "broken" not in view.tile(0, 1).text
    finding = browser.find("#findings [data-code=ATTN002]")
    finding.find_element("css selector", "button").click()
    assert "head 2" in view.title
    assert "query 4" in view.told().pair
