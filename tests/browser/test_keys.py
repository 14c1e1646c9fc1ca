"""Every key that the help lists does what it says there."""

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from tests.browser.view import View

HELP = """return [...document.querySelectorAll("#help section")].flatMap((part) =>
  [...part.querySelectorAll("dt")].map((key) => [part.querySelector("h3").textContent, key.textContent]))"""
BOX = ("firstRow", "firstKey", "shownRows", "shownKeys")


class Keyboard:
    """A page, and what came of a key."""

    def __init__(self, browser, view):
        self.browser, self.view = browser, view

    def press(self, *keys):
        for key in keys:
            self._press(*(key if isinstance(key, tuple) else ("", key)))
        self.view.settle()

    def _press(self, held, key):
        actions = ActionChains(self.browser.chrome, duration=0)
        (actions.key_down(held).send_keys(key).key_up(held) if held else actions.send_keys(key)).perform()

    def cursor(self, *keys):
        self.press(*keys)
        told = self.view.told()
        return told.row, told.key

    def box(self, *keys):
        self.press(*keys)
        box = self.view.picture()
        return tuple(box[name] for name in BOX)

    def focused(self, *keys):
        self.press(*keys)
        return self.browser.run("const one = document.activeElement; return one.id || one.className")

    def place(self, *keys):
        self.press(*keys)
        return tuple(
            int(self.view.browser.run(f"return document.getElementById('opened').dataset.{name}"))
            for name in ("call", "head")
        )


def _arrows(keys):
    assert keys.cursor(Keys.ARROW_RIGHT) == (8, 9)
    assert keys.cursor(Keys.ARROW_DOWN) == (9, 9)
    assert keys.cursor(Keys.ARROW_LEFT) == (9, 8)
    assert keys.cursor(Keys.ARROW_UP) == (8, 8)


def _shift(keys):
    shifted = (Keys.SHIFT, Keys.ARROW_LEFT)
    assert keys.cursor(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, shifted) == (8, 1)


def _ends(keys):
    assert keys.cursor(Keys.HOME) == (8, 0)
    assert keys.cursor(Keys.END) == (8, 17)
    assert keys.cursor((Keys.CONTROL, Keys.HOME)) == (0, 17)
    assert keys.cursor((Keys.CONTROL, Keys.END)) == (17, 17)


def _screens(keys):
    assert keys.cursor(Keys.PAGE_UP) == (0, 8)
    assert keys.cursor(Keys.PAGE_DOWN) == (14, 8)


def _zoom(keys):
    whole = keys.box()
    closer = keys.box("+")
    assert closer[2:] == pytest.approx((12, 12))
    assert keys.box("-") == whole


def _pan(keys):
    row, key, rows, _ = keys.box("+", "+")
    for letter, moved in (("s", (0.2, 0)), ("d", (0.2, 0.2)), ("w", (0, 0.2)), ("a", (0, 0))):
        there = keys.box(letter)
        assert there[:2] == pytest.approx((row + moved[0] * rows, key + moved[1] * rows), abs=0.01)


def _whole(keys):
    assert keys.box("+", "+", "0") == (0, 0, 18, 18)


def _pairs(keys):
    buttons = keys.browser.all("button[data-pair]")[:3]
    first, second, third = (tuple(int(one.get_attribute(f"data-{name}")) for name in ("row", "key")) for one in buttons)
    assert keys.cursor("n") == first
    assert keys.cursor("n") == second
    assert keys.cursor("n") == third
    assert keys.cursor("p") == second


def _largest(keys):
    weights = keys.view.shown.data["weights"][2]["values"][0][3][8]
    assert keys.cursor("m") == (8, weights.index(max(weights)))


def _heads(keys):
    assert keys.place("]") == (2, 4)
    assert keys.place("[", "[") == (2, 2)


def _calls(keys):
    assert keys.place("}") == (3, 3)
    assert keys.cursor("{") == (8, 8)
    assert keys.place("{") == (1, 3)


def _swap(keys):
    Select(keys.browser.find("#compare")).select_by_value("2.0.7")
    keys.view.settle()
    keys.browser.run("document.getElementById('picture').focus()")
    before = keys.view.told().weight
    assert keys.place("x") == (2, 7)
    assert keys.view.told().weight == pytest.approx(-before)
    assert before != 0


def _text(keys):
    assert "word" in keys.focused("t")
    assert keys.cursor(Keys.ARROW_RIGHT)[0] == 9
    assert keys.cursor(Keys.ARROW_LEFT, Keys.ARROW_LEFT)[0] == 7


def _back(keys):
    keys.press(Keys.ESCAPE)
    assert keys.view.is_overview


def _help(keys):
    keys.press("?")
    assert keys.browser.find("#help").is_displayed()


def _choose(keys):
    assert keys.focused("c") == "compare"


def _next_control(keys):
    assert keys.focused(Keys.TAB) != "picture"


def _among_tiles(keys):
    keys.press(Keys.ESCAPE, Keys.ARROW_RIGHT, Keys.ARROW_DOWN)
    place = "const {call, head} = document.activeElement.dataset; return [call, head].map(Number)"
    assert keys.browser.run(place) == [3, 4]
    keys.press(Keys.ARROW_UP, Keys.ARROW_LEFT)
    assert keys.browser.run(place) == [2, 3]


def _enter(keys):
    keys.press(Keys.ESCAPE, Keys.ARROW_RIGHT)
    assert keys.place(Keys.ENTER) == (2, 4)


TILES, HEAD = "Among the small pictures", "In an opened head"
DOES = {
    ("Anywhere", "?"): _help,
    ("Anywhere", "Tab"): _next_control,
    (TILES, "← → ↑ ↓"): _among_tiles,
    (TILES, "Enter"): _enter,
    (HEAD, "← → ↑ ↓"): _arrows,
    (HEAD, "Shift + arrow"): _shift,
    (HEAD, "Home / End"): _ends,
    (HEAD, "Page Up / Down"): _screens,
    (HEAD, "W A S D"): _pan,
    (HEAD, "+ / −"): _zoom,
    (HEAD, "0"): _whole,
    (HEAD, "M"): _largest,
    (HEAD, "N / P"): _pairs,
    (HEAD, "[ / ]"): _heads,
    (HEAD, "{ / }"): _calls,
    (HEAD, "C"): _choose,
    (HEAD, "X"): _swap,
    (HEAD, "T"): _text,
    (HEAD, "Esc"): _back,
}


@pytest.fixture
def keyboard(browser, pages):
    view = View(browser, pages.minilm()).open(call=2, head=3, batch=0, q=8, k=8)
    browser.run("document.getElementById('picture').focus()")
    return Keyboard(browser, view)


def test_no_listed_key_is_forgotten_here(keyboard):
    listed = [tuple(one) for one in keyboard.browser.run(HELP)]
    assert {one for one in listed if one[0] != "Pointer and fingers"} == set(DOES)


@pytest.mark.parametrize("listed", list(DOES), ids=lambda one: one[1])
def test_a_key_does_what_the_help_says(keyboard, listed):
    DOES[listed](keyboard)


@pytest.mark.parametrize("held", [Keys.ALT, Keys.META])
def test_a_key_held_with_another_is_the_browsers(keyboard, held):
    assert keyboard.place((held, "]")) == (2, 3)
