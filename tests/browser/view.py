"""A page of ours as its reader meets it: small pictures, an opened head, what is told of the weight at the cursor."""

from __future__ import annotations

from dataclasses import dataclass

from tests.browser.driver import Browser
from tests.browser.pages import Shown

TOLD = """const room = document.querySelector("[data-readout]");
const text = (selector) => room.querySelector(selector)?.innerText ?? "";
return room && {...room.dataset, pair: text(".pair"), words: text(".weight"), how: text(".how")}"""
PICTURE = """const canvas = document.getElementById(arguments[0]);
if (!canvas || !canvas.clientWidth || !canvas.dataset.drawn) return null;
return Object.fromEntries(Object.entries(canvas.dataset).map(([name, value]) => [name, Number(value)]))"""
# data-left, data-top, data-width and data-height are where the plot lies on the canvas, in CSS pixels; data-first-row,
# data-first-key, data-shown-rows, data-shown-keys which weights it shows; data-sink-x and data-sink the sink's column.
PIXELS = """const [id, x, y, w, h] = arguments, ratio = devicePixelRatio;
const [left, top, across, down] = [x, y, w, h].map((value) => Math.round(value * ratio));
const copy = new OffscreenCanvas(across, down).getContext("2d", {willReadFrequently: true});
copy.drawImage(document.getElementById(id), left, top, across, down, 0, 0, across, down);
const {data} = copy.getImageData(0, 0, across, down);
return [...new Set(Array.from({length: data.length / 4}, (_, i) => data.slice(4 * i, 4 * i + 3).join(",")))]"""
SETTLED = """const before = location.hash;
return new Promise((done) => setTimeout(() => done(location.hash === before && {hash: before}), 300))"""
FRAMES = "return new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done))))"


@dataclass(frozen=True)
class Told:
    """What the page tells of one weight, or of several that are pooled."""

    row: int
    key: int
    pair: str
    how: str
    words: str
    kind: str
    is_exact: bool
    weight: float | None
    logit: float | None


class View:
    """A page in the browser."""

    def __init__(self, browser: Browser, shown: Shown) -> None:
        self.browser, self.shown = browser, shown

    def open(self, **where: object) -> View:
        """Load the page as a link with these parts does; without any, it is the overview."""
        self.browser.open(self.shown.path, "&".join(f"{name}={value}" for name, value in where.items()))
        self.settle()
        return self

    def settle(self) -> None:
        """Let the page draw what it has been asked to."""
        self.browser.run(FRAMES)

    @property
    def where(self) -> dict[str, str]:
        """The parts of the address's fragment, which is written a little later: as they are when they stay so."""
        return self._parts(self.browser.wait(SETTLED)["hash"])

    def leads_to(self, **parts: str) -> None:
        """Wait until the fragment has these parts; a page that never writes them fails the test."""
        wanted = [f"{name}={value}" for name, value in parts.items()]
        self.browser.wait(
            "return arguments[0].every((part) => location.hash.slice(1).split('&').includes(part))", wanted
        )

    def shows(self, head: int) -> None:
        """Wait until this head is opened, as it is a little after the browser has gone back or forward."""
        wanted = f"head {head}"
        self.browser.wait("return document.getElementById('opened-title').textContent.includes(arguments[0])", wanted)

    @staticmethod
    def _parts(fragment: str) -> dict[str, str]:
        return dict(part.split("=", 1) for part in fragment.removeprefix("#").split("&") if part)

    @property
    def is_overview(self) -> bool:
        """Whether all heads are shown, and none is opened."""
        return self.browser.find("#overview").is_displayed() and not self.browser.find("#opened").is_displayed()

    @property
    def title(self) -> str:
        """Which head is opened."""
        self.settle()
        return self.browser.find("#opened-title").text

    def tile(self, call: int, head: int):
        """A small picture."""
        return self.browser.find(f"#tiles .tile[data-call='{call}'][data-head='{head}']")

    def told(self) -> Told:
        """What is told of the weight at the pointer or the cursor."""
        self.settle()
        found = self.browser.wait(TOLD)
        number = {name: float(found[name]) if found[name] not in ("", "null") else None for name in ("weight", "logit")}
        texts = (found[name] for name in ("pair", "how", "words", "kind"))
        return Told(int(found["row"]), int(found["key"]), *texts, found["exact"] == "true", **number)

    def picture(self, name: str = "picture") -> dict[str, float]:
        """Where an opened picture's cells lie on its canvas, in CSS pixels."""
        self.settle()
        return self.browser.wait(PICTURE, name)

    def place(self, row: int, key: int, name: str = "picture") -> tuple[float, float]:
        """The middle of a weight on the canvas of a picture; key −1 is the sink's."""
        box = self.browser.wait(PICTURE, name)
        across = box["left"] + (key + 0.5 - box["firstKey"]) * box["width"] / box["shownKeys"]
        down = box["top"] + (row + 0.5 - box["firstRow"]) * box["height"] / box["shownRows"]
        return (box["sinkX"] + box["sink"] / 2 if key < 0 else across), down

    def point(self, row: int, key: int, name: str = "picture") -> Told:
        """What is told with the pointer on a weight."""
        self.browser.hover(self.browser.find(f"#{name}"), *self.place(row, key, name))
        return self.told()

    def colours(self, row: int, key: int, name: str = "picture") -> set[str]:
        """The colours within a cell, beside the number or the cross in its middle and within its borders."""
        x, y = self.place(row, key, name)
        box = self.browser.wait(PICTURE, name)
        wide, high = box["width"] / box["shownKeys"], box["height"] / box["shownRows"]
        return set(self.browser.run(PIXELS, name, x - wide * 0.42, y - high * 0.42, wide * 0.84, high * 0.14))
