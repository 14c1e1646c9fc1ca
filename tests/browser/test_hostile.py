"""Tokens that would like to be more than text are text."""

import pytest

from tests.browser.pages import HOSTILE, NAMED
from tests.browser.view import FRAMES

OPENED = "call=0&head=0&q=0&k=0"


ISOLATED = """return [...document.querySelectorAll("bdi, .token, .word")].every(
    (one) => getComputedStyle(one).unicodeBidi.startsWith("isolate"))"""


@pytest.fixture(params=["", OPENED], ids=["overview", "head"])
def hostile(request, browser, pages):
    browser.open(pages.hostile().path, request.param)
    return browser


def test_nothing_that_a_token_says_is_done(hostile):
    hostile.wait("return document.readyState === 'complete'")  # what a picture would have loaded has failed by now
    hostile.run(FRAMES)
    assert hostile.chrome.title != "ran"
    assert hostile.all("img") == []
    assert len(hostile.all("script")) == 2
    assert hostile.run("return document.querySelectorAll('body > *').length") < 12


def test_each_token_is_shown_as_text(browser, pages):
    browser.open(pages.hostile().path, OPENED)
    words = browser.run("return [...document.querySelectorAll('#sentence .word')].map((one) => one.textContent)")
    assert words == list(HOSTILE.values())
    assert NAMED in browser.run("return document.getElementById('title').textContent")


def test_no_token_turns_the_text_around_or_hides_in_it(hostile):
    shown = hostile.run("return document.body.innerText")
    assert not set(shown) & set("\u202a\u202b\u202d\u202e\u2066\u2067\u2068\u2069\u200d\x00\x1b")
    assert hostile.run(ISOLATED)


def test_a_token_without_end_moves_nothing_away(browser, pages):
    browser.size(400, 800)
    browser.open(pages.hostile().path, OPENED)
    assert browser.run("return document.documentElement.scrollWidth") <= 400
    for token in browser.all("bdi"):
        assert token.size["height"] < 400
