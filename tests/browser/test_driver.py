"""The harness itself: a page that misbehaves would be noticed."""

import pytest

GOOD = """<!doctype html><html lang=en data-ready><title>A page</title><style>button { height: 30px }</style>
<main><h1>Hello</h1><button>Go on</button><canvas role=img aria-label="A picture"></canvas></main>"""


@pytest.fixture
def opened(chromium, tmp_path):
    """Opens HTML, and leaves nothing of what it did in the logs."""

    def write(html):
        page = tmp_path / "page.html"
        page.write_text(html, encoding="utf-8")
        chromium.usual()
        chromium.open(page)
        return chromium

    yield write
    chromium.forget()


def test_a_good_page_is_silent(opened):
    browser = opened(GOOD)
    assert browser.requests() == []
    assert browser.complaints() == []
    assert browser.barriers() == []


@pytest.mark.parametrize(
    "script", ["console.error('x')", "console.warn('x')", "throw new Error('x')", "Promise.reject(new Error('x'))"]
)
def test_a_warning_or_an_error_is_heard(opened, script):
    browser = opened(f"{GOOD}<script>{script}</script>")
    assert len(browser.complaints()) == 1


@pytest.mark.parametrize(
    "html",
    [
        "<img src='http://127.0.0.1:9/a.png'>",
        "<script src='file:///nothing/there.js'></script>",
        "<script>fetch('http://127.0.0.1:9/').catch(() => 0)</script>",
        "<script>new WebSocket('ws://127.0.0.1:9/')</script>",
        "<link rel=stylesheet href='http://127.0.0.1:9/a.css'>",
    ],
)
def test_a_request_is_seen(opened, html):
    browser = opened(GOOD + html)
    browser.run("return new Promise((done) => setTimeout(done, 50))")
    assert len(browser.requests()) == 1


@pytest.mark.parametrize(
    ("html", "said"),
    [
        ("<button style='width: 30px'></button>", "no name"),
        ("<input style='height: 30px'>", "no name"),
        ("<div tabindex=0 style='height: 30px'></div>", "no name"),
        ("<h3>Too deep</h3>", "of level 3 after level 1"),
        ("<button tabindex=2>Me first</button>", "jumps the queue"),
        ("<p aria-describedby=nowhere>Text</p>", "which is not there"),
        ("<p id=a>1</p><p id=a>2</p>", "two elements have the id a"),
        ("<canvas></canvas>", "picture without a name"),
        ("<p style='color: #999'>Faint</p>", "contrast of 2.8"),
        ("<div aria-hidden=true><button>Hidden</button></div>", "hidden from screen readers"),
        ("<button style='width: 9px; height: 9px; padding: 0'>x</button>", "expected 24 × 24"),
        ("<table><tr><td>1</td></tr></table>", "no headers"),
    ],
)
def test_a_barrier_is_found(opened, html, said):
    browser = opened(GOOD + html)
    assert [said in barrier for barrier in browser.barriers()].count(True) == 1
