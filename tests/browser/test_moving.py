"""Everything in a page is reached by pointer, by keyboard and by a link."""

import numpy as np
import pytest
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from tests.browser.view import View

PLACES = """return [...document.querySelectorAll("#tiles .tile")].map(
    (one) => ({call: Number(one.dataset.call), head: Number(one.dataset.head)}))"""


@pytest.fixture
def minilm(browser, pages):
    return View(browser, pages.minilm())


def test_every_layer_and_head_opens_by_a_click(browser, minilm):
    minilm.open()
    assert minilm.is_overview
    assert len(browser.all("#tiles .tile")) == 6 * 12
    for call in range(6):
        for head in (call, 11 - call):
            minilm.tile(call, head).click()
            assert f"layer {call} · head {head}" in minilm.title.lower().replace("layers.", "layer ")
            assert minilm.told().kind in ("exact", "masked")
            browser.find("#back").click()
            assert minilm.is_overview


def test_every_layer_and_head_opens_by_keyboard(browser, minilm):
    minilm.open()
    browser.run("document.querySelector('#tiles .tile[tabindex=\"0\"]').focus()")
    browser.press(Keys.ARROW_RIGHT, Keys.ARROW_DOWN, Keys.ENTER)
    minilm.leads_to(call="1", head="1")
    browser.press("]", "]", "}")
    minilm.leads_to(call="2", head="3")
    seen = set()
    for _ in range(12):
        browser.press("]")
        seen.add(minilm.title)
    assert len(seen) == 12
    browser.press(Keys.ESCAPE)
    assert minilm.is_overview


def test_the_keyboards_cursor_tells_each_weight(browser, minilm):
    weights = np.array(minilm.shown.data["weights"][3]["values"][1][5])
    minilm.open(call=3, batch=1, head=5, q=0, k=0)
    browser.run("document.getElementById('picture').focus()")
    browser.press(Keys.ARROW_DOWN, Keys.ARROW_DOWN, Keys.ARROW_RIGHT)
    told = minilm.told()
    assert told.pair.startswith("query 2 ")
    assert np.float32(told.weight) == np.float32(weights[2, 1])
    browser.wait(
        "return document.getElementById('live').textContent.startsWith(arguments[0])", told.pair.split(" → ")[0]
    )
    browser.press(Keys.END)
    assert "key 17" in minilm.told().pair
    browser.press("m")
    assert minilm.told().weight == pytest.approx(weights[2].max())


def test_the_text_shows_where_each_head_looks(browser, minilm):
    weights = np.array(minilm.shown.data["weights"][1]["values"][0])
    minilm.open(call=1, batch=0, head=8, q=0, k=0)
    words = browser.all("#sentence .word")
    assert [word.text for word in words][:6] == ["[CLS]", "the", "cat", "sat", "on", "the"]
    words[2].click()
    assert minilm.told().pair.startswith("query 2 cat")
    looks = browser.all("#looks .look")
    assert len(looks) == 12
    browser.wait("return document.querySelector('#looks .look:last-child .most').textContent")
    for head, look in enumerate(looks):
        assert look.text.split()[1] == str(weights[head, 2].argmax())


def test_sorting_puts_the_largest_first(browser, minilm):
    metric = {(one["layer"], one["head"]): one["entropy"] for one in minilm.shown.data["heads"] if one["batch"] == 0}
    minilm.open()
    Select(browser.find("#sort")).select_by_value("entropy")
    for wanted in (True, False):
        tiles = [(one["call"], one["head"]) for one in browser.run(PLACES)]
        assert tiles == sorted(metric, key=metric.get, reverse=wanted)
        browser.find("#order").click()


def test_colouring_by_a_metric_shows_its_values_and_its_definition(browser, minilm):
    minilm.open()
    Select(browser.find("#colour")).select_by_value("sink_score")
    told = float(minilm.tile(4, 5).find_element("css selector", ".value").text)
    assert told == pytest.approx(minilm.shown.head(4, 0, 5)["sink_score"], abs=2e-3)
    assert minilm.shown.data["metrics"]["sink_score"]["definition"] in browser.find("#tools").text


def test_a_metric_says_by_focus_what_it_is_and_whose(browser, minilm):
    minilm.open(call=0, head=0)
    browser.run("document.querySelector('tr[data-metric=entropy] .has-tip').focus()")
    tip = browser.find("#tip")
    assert tip.is_displayed()
    entropy = minilm.shown.data["metrics"]["entropy"]
    assert entropy["definition"] in tip.text
    assert entropy["source"] in tip.text


def test_two_heads_side_by_side_and_their_difference(browser, minilm):
    weights = np.array(minilm.shown.data["weights"][1]["values"][0])
    minilm.open(call=1, batch=0, head=8, q=0, k=0)
    Select(browser.find("#compare")).select_by_value("1.0.3")
    told = minilm.point(3, 4, "picture-difference")
    assert told.weight == pytest.approx(weights[8, 3, 4] - weights[3, 3, 4], abs=1e-6)
    assert f"{weights[3, 3, 4]:.3f}" in told.how
    for name in ("picture", "picture-second", "picture-difference"):
        assert minilm.picture(name)["width"] > 100
    minilm.leads_to(**{"with": "1.0.3"})


def test_the_wheel_zooms_at_the_pointer_and_a_drag_pans(browser, pages):
    view = View(browser, pages.long()).open(head=0)
    canvas = browser.find("#picture")
    before = view.point(300, 500)
    for _ in range(4):
        browser.wheel(canvas, *view.place(300, 500), -240)
        view.settle()
    zoomed = view.picture()
    assert zoomed["shownKeys"] < 200
    assert zoomed["firstKey"] < 500 < zoomed["firstKey"] + zoomed["shownKeys"]
    assert zoomed["firstRow"] < 300 < zoomed["firstRow"] + zoomed["shownRows"]
    assert (view.point(300, 500).row, view.told().key) == (300, 500)
    x, y = view.place(300, 500)
    browser.drag(canvas, (x, y), (x - 60, y))
    panned = view.picture()
    assert panned["firstKey"] == pytest.approx(zoomed["firstKey"] + 60 / zoomed["width"] * zoomed["shownKeys"], abs=0.5)
    assert panned["firstRow"] == pytest.approx(zoomed["firstRow"], abs=0.5)
    browser.find("#zoom-all").click()
    assert view.picture()["shownKeys"] == 700
    assert view.point(300, 500) == before


def test_the_zooms_buttons_and_keys_keep_the_cursor_in_view(browser, pages):
    view = View(browser, pages.long()).open(head=0, q=690, k=5)
    for button in ("zoom-in", "zoom-in", "zoom-in", "zoom-out"):
        browser.find(f"#{button}").click()
    browser.run("document.getElementById('picture').focus()")
    browser.press("+", "+", "s", "d")
    box = view.picture()
    assert box["shownRows"] < 700 / 3
    browser.press(Keys.ARROW_LEFT)
    box, told = view.picture(), view.told()
    assert box["firstRow"] <= told.row < box["firstRow"] + box["shownRows"]
    assert box["firstKey"] <= told.key < box["firstKey"] + box["shownKeys"]
    browser.press("0")
    assert view.picture()["shownRows"] == 700


def test_a_link_restores_the_view_and_the_back_button_goes_back(browser, minilm):
    minilm.open()
    minilm.tile(2, 4).click()
    browser.run("document.getElementById('picture').focus()")
    browser.press(Keys.HOME, "+", "+")
    where, told = minilm.where, minilm.told()
    assert where.keys() >= {"call", "head", "q", "k", "zoom"}
    address = browser.chrome.current_url
    minilm.open(**where)
    assert browser.chrome.current_url == address
    assert minilm.told() == told
    assert minilm.where == where
    browser.press("]")
    minilm.leads_to(head="5")
    browser.chrome.back()
    minilm.leads_to(head="4")
    minilm.shows(4)
    browser.chrome.forward()
    minilm.leads_to(head="5")
    minilm.shows(5)


@pytest.mark.parametrize(
    "fragment",
    [
        {"call": 99, "head": -1},
        {"head": "x", "q": "NaN", "zoom": "1e99"},
        {"sort": "<b>"},
        {"head": 1, "with": "9.9.9"},
    ],
)
def test_a_damaged_link_opens_something(browser, minilm, fragment):
    minilm.open(**fragment)
    assert browser.find("#overview").is_displayed() != browser.find("#opened").is_displayed()


def test_the_skip_link_leaves_an_opened_head_open(browser, minilm):
    minilm.open(call=2, head=3, q=4, k=5)
    told = minilm.told()
    browser.run("document.querySelector('a.skip').focus()")
    browser.press(Keys.ENTER)
    browser.wait("return document.activeElement.id === 'main'")
    minilm.settle()
    assert "head 3" in minilm.title
    assert minilm.told() == told


def test_the_back_button_returns_to_the_head_that_was_open(browser, minilm):
    minilm.open()
    minilm.tile(4, 6).click()
    minilm.leads_to(head="6")
    browser.press("]")
    minilm.leads_to(head="7")
    browser.chrome.back()
    minilm.leads_to(head="6")
    minilm.shows(6)
    browser.chrome.back()
    browser.wait("return !document.getElementById('overview').hidden")
    place = browser.run("const {call, head} = document.activeElement.dataset; return [call, head]")
    assert place == ["4", "6"]


def test_a_link_to_a_cell_that_is_not_there_says_so(browser, minilm):
    minilm.open(call=1, head=99, q=3, k=900)
    note = browser.find("#cell-note").text
    assert "head 99 and key 900 are not on this page" in note
    browser.wait("return document.getElementById('live').textContent.includes(arguments[0])", note)
    minilm.open(call=1, head=3, q=3, k=2)
    assert browser.all("#cell-note") == []


def test_the_text_says_whose_weights_are_pooled(browser, pages):
    view = View(browser, pages.text()).open(head=0, q=150, k=3)
    weights = np.array(view.shown.data["weights"])[0]
    size = int(float(view.told().pair.split("queries ")[1].split("–")[1].split()[0])) - 149
    assert size > 1
    browser.wait("return document.querySelector('#looks .look:last-child .most').textContent")
    for head, look in enumerate(browser.all("#looks .look .most")):
        words = look.text
        first, last = (int(number) for number in words.split("of queries ")[1].split("–"))
        assert first <= 150 <= last
        most = weights[head, first : last + 1].max()
        assert float(words.split("≈ ")[1].split(" of")[0]) == pytest.approx(most, abs=0.02)
        start, stop = (int(number) for number in words.split(" ≈")[0].split("–"))
        assert weights[head, first : last + 1, start : stop + 1].max() == most
    assert "not of this query alone" in browser.find("#text").text
    browser.run("document.getElementById('picture').focus()")
    browser.press("m")
    assert "The largest of queries" in browser.find("#cell-note").text
    browser.press(Keys.ARROW_UP)
    view.settle()
    assert browser.all("#cell-note") == []


def test_the_help_lists_the_keys_and_closes(browser, minilm):
    minilm.open(call=0, head=0)
    browser.press("?")
    assert "strongest pair" in browser.find("#help").text
    browser.press(Keys.ESCAPE)
    assert not browser.find("#help").is_displayed()
    assert not minilm.is_overview
