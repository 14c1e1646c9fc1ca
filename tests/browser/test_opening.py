"""Any page opens from its file, silently and alone, and can be read and worked by everyone, on any screen."""

import re

import pytest

from tests.browser.tabbing import tab_reaches_everything

PAGES = ("minilm", "odd", "long", "hostile")
SCREENS = {"telephone": (400, 800), "window": (1280, 900), "wide": (1920, 1080)}


@pytest.fixture(params=["overview", "head"])
def part(request):
    """The fragment of the overview, or of an opened head."""
    return "" if request.param == "overview" else "call=0&head=1"


@pytest.mark.parametrize("name", PAGES)
def test_it_opens_silently_and_asks_for_nothing(browser, pages, name):
    browser.open(getattr(pages, name)().path)
    assert "attn" in browser.chrome.title
    browser.wait("return [...document.querySelectorAll('.thumb')].every((one) => one.dataset.drawn)")
    assert browser.all(".tile")


def test_its_policy_lets_nothing_in(pages):
    html = pages.minilm().path.read_text(encoding="utf-8")
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', html).group(1)
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert "http" not in policy
    assert not re.search(r'(?:src|href)="(?!#|data:)', html)


def test_its_policy_is_in_force(chromium, pages):
    chromium.open(pages.hostile().path)
    script = """const own = document.createElement("script");
        own.textContent = "window.ran = true";
        document.body.append(own);
        document.body.insertAdjacentHTML("beforeend", "<img src='http://127.0.0.1:9/' onerror='window.ran = true'>");
        return fetch("http://127.0.0.1:9/").then(() => "answered", () => "refused")"""
    assert chromium.run(script) == "refused"
    assert chromium.run("return window.ran") is None
    assert len(chromium.complaints()) >= 3
    chromium.forget()


@pytest.mark.parametrize("screen", SCREENS)
def test_nothing_runs_over_the_side(browser, pages, screen, part):
    browser.size(*SCREENS[screen])
    for shown in (pages.minilm(), pages.hostile()):
        browser.open(shown.path, part)
        assert browser.run("return document.documentElement.scrollWidth") <= SCREENS[screen][0]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nobody_is_kept_out(browser, pages, scheme, part):
    browser.media(prefers_color_scheme=scheme)
    for shown in (pages.minilm(), pages.odd()):
        browser.open(shown.path, part)
        assert browser.barriers() == []


def test_light_and_dark_follow_the_system(browser, pages):
    ground = "return getComputedStyle(document.documentElement).backgroundColor"
    browser.open(pages.odd().path)
    browser.media(prefers_color_scheme="light")
    light = browser.run(ground)
    browser.media(prefers_color_scheme="dark")
    dark = browser.run(ground)
    assert _brightness(light) > 200
    assert _brightness(dark) < 60


def _brightness(colour):
    return sum(int(part) for part in re.findall(r"\d+", colour)[:3]) / 3


PIXELS = """const canvas = document.querySelector(arguments[0]);
const context = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", {willReadFrequently: true});
context.fillStyle = "white";
context.fillRect(0, 0, canvas.width, canvas.height);
context.drawImage(canvas, 0, 0);
const {data} = context.getImageData(0, 0, canvas.width, canvas.height);
return data.reduce((sum, value) => sum + value, 0) / data.length"""


def _drawn_brightness(browser, selector):
    """The mean of a canvas's channels, on white."""
    browser.run("return new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return browser.run(PIXELS, selector)


def test_a_page_that_a_browser_saved_as_it_stood_opens_again(browser, pages, tmp_path, part):
    browser.open(pages.minilm().path, part)
    saved = tmp_path / "saved.html"
    saved.write_text("<!DOCTYPE html>" + browser.run("return document.documentElement.outerHTML"), encoding="utf-8")
    browser.open(saved, "call=2&head=3")
    browser.complaints()  # styles that a script had set are not let in; it sets them anew
    assert "layer 2" in browser.find("#opened-title").text
    assert len(browser.all("#opened figure")) == 3
    browser.find("#back").click()
    assert len(browser.all("#tiles .tile")) == 72
    assert len(browser.all("#help h2")) == 1


def test_the_tab_key_reaches_everything_and_shows_where_it_is(browser, pages, part):
    browser.open(pages.odd().path, part)
    tab_reaches_everything(browser)


def test_it_prints_on_paper(browser, pages, part):
    browser.media("screen", prefers_color_scheme="dark")
    browser.open(pages.minilm().path, part)
    browser.media("print", prefers_color_scheme="dark")
    assert _brightness(browser.run("return getComputedStyle(document.documentElement).backgroundColor")) > 200
    assert _drawn_brightness(browser, "#picture" if part else "#tiles .thumb") > 150
    printed = browser.chrome.execute_cdp_cmd("Page.printToPDF", {"printBackground": False, "preferCSSPageSize": True})
    assert len(printed["data"]) > 10_000
    browser.size(720, 1000)
    assert browser.run("return document.documentElement.scrollWidth") <= 720
