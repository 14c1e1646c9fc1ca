"""The README's pictures show what attn does now. ``make pictures`` draws them anew."""

import importlib.util
import json
import re
import sys
from dataclasses import dataclass
from xml.etree import ElementTree

import pytest
import torch

from attn_cli.reporters.screenshot import save_screenshot
from tests.cli.process import ROOT

ANEW = "make pictures draws it anew"
LINE, COLUMN = 24.4, 12.2  # of Rich's SVG
NEARLY = 3  # of 255: a weight's last bit may move its colour
TIMES = re.compile(r"\d[\d.]* (ns|µs|ms|s)( \([^)]*runs?\))?|(?<=within )\S+")  # what no two runs have in common


def drawing():
    """docs/pictures/draw.py, which is a program of its own."""
    spec = importlib.util.spec_from_file_location("draw_pictures", ROOT / "docs" / "pictures" / "draw.py")
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


draw = drawing()


@dataclass
class Screen:
    """What a picture of the terminal shows: its title, its lines without times, and the colours of the other lines."""

    title: str
    lines: list[str]
    inks: dict[tuple[int, int], str]
    papers: dict[tuple[int, int], str]

    @classmethod
    def of(cls, svg):
        root = ElementTree.fromstring(svg)
        texts = [text for text in root.iter() if text.tag.endswith("text")]
        title, *cells = ["".join(text.itertext()).replace("\xa0", " ") for text in texts]
        style = dict(re.findall(r"\.(attn-r\d+) \{ (.*?) ?\}", svg))
        signs, inks = {}, {}
        for text, words in zip(texts[1:], cells, strict=True):
            row, column = row_of(text), round(float(text.get("x")) / COLUMN)
            for place, sign in enumerate(words.rstrip("\n"), column):
                signs[row, place], inks[row, place] = sign, style[text.get("class")]
        height, width = (1 + max(place[axis] for place in signs) for axis in (0, 1))
        plain = ["".join(signs.get((row, column), " ") for column in range(width)).rstrip() for row in range(height)]
        lines = [TIMES.sub("#", line) for line in plain]
        steady = {row for row in range(height) if lines[row] == plain[row]}
        papers = {place: paper for place, paper in papers_of(root) if place[0] in steady}
        return cls(title, lines, {place: ink for place, ink in inks.items() if place[0] in steady}, papers)

    def differs_from(self, other):
        """How, in words; None where it does not."""
        if self.title != other.title:
            return f"{self.title} is not {other.title}"
        for number, (ours, theirs) in enumerate(zip(self.lines, other.lines, strict=False)):
            if ours != theirs:
                return f"line {number}:\n{ours}\n{theirs}"
        if len(self.lines) != len(other.lines):
            return f"{len(self.lines)} lines are not {len(other.lines)}"
        for mine, its in ((self.inks, other.inks), (self.papers, other.papers)):
            for place in mine.keys() | its.keys():
                if not is_near(mine.get(place, ""), its.get(place, "")):
                    return f"colours at {place}: {mine.get(place)} is not {its.get(place)}"
        return None


def row_of(text):
    return int(re.search(r"line-(\d+)", text.get("clip-path"))[1])


def papers_of(root):
    for rect in root.iter("{http://www.w3.org/2000/svg}rect"):
        if rect.get("shape-rendering"):
            row, first = round((float(rect.get("y")) - 1.5) / LINE), round(float(rect.get("x")) / COLUMN)
            for column in range(first, first + round(float(rect.get("width")) / COLUMN)):
                yield (row, column), rect.get("fill")


def is_near(ours, theirs):
    """Whether two styles are the same but for a colour's last bits."""
    levels = [[int(one[place : place + 2], 16) for one in re.findall("#([0-9a-f]{6})", style) for place in (0, 2, 4)]
              for style in (ours, theirs)]  # fmt: skip
    rest = [re.sub("#[0-9a-f]{6}", "#", style) for style in (ours, theirs)]
    return rest[0] == rest[1] and all(abs(a - b) <= NEARLY for a, b in zip(*levels, strict=True))


def kept(name):
    return (draw.FOLDER / name).read_text(encoding="utf-8")


on_the_cpu = pytest.mark.skipif(
    torch.backends.mps.is_available(), reason="the pictures are of a CPU, and attn would take Apple's GPU here"
)


@on_the_cpu
@pytest.mark.parametrize("name", draw.TERMINALS)
def test_a_picture_of_the_terminal_is_what_is_drawn_now(name, tmp_path):
    draw.draw_terminal(name, tmp_path / name)
    now = Screen.of((tmp_path / name).read_text(encoding="utf-8"))
    difference = Screen.of(kept(name)).differs_from(now)
    assert difference is None, f"docs/pictures/{name}: {difference}\n{ANEW}"
    assert sum("#" in line for line in now.lines) == 2  # of all that it says the times and the difference are left out


@pytest.mark.parametrize(
    ("what", "by"),
    [
        (">Metrics<", ">Numbers<"),
        (r'x="0" (y="[\d.]+" textLength="85.4" clip-path="[^"]+">Metrics)', r'x="12.2" \1'),
        (r'(<rect fill="#)\w\w(\w+" [^>]*crispEdges"/>)', r"\g<1>00\2"),
        (r"(attn-r\d+) \{ fill: #242424;font-weight: bold \}", r"\1 { fill: #242424 }"),
        (r'<rect fill="#\w+" [^>]*crispEdges"/>', ""),
        ("head&#160;8", "head&#160;9"),
    ],
)
def test_another_look_of_the_terminal_is_noticed(what, by):
    svg = kept("terminal.svg")
    altered = re.sub(what, by, svg, count=1)
    assert altered != svg
    assert Screen.of(svg).differs_from(Screen.of(altered)) is not None


def test_other_times_are_the_same_picture(tmp_path):
    texts = (
        "load 9.30 ms · attention 21.0 µs (IQR 1.2 µs, 5 runs)",
        "load 123 ms · attention 1.1 s (1 run)",
        "load 4 s",
    )
    screens = []
    for text in texts:
        save_screenshot(lambda console, text=text: console.print(text), str(tmp_path / "out.svg"), 80, "attn")
        screens.append(Screen.of((tmp_path / "out.svg").read_text(encoding="utf-8")))
    assert screens[0].differs_from(screens[1]) is None
    assert screens[0].differs_from(screens[2]) is not None


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    path = tmp_path_factory.mktemp("pictures") / "page.html"
    draw.write_page(path)
    return path


@on_the_cpu
@pytest.mark.parametrize("name", draw.VIEWS)
def test_a_picture_of_the_page_is_of_todays_page(name, page):
    recorded = json.loads(draw.MADE_FROM.read_text(encoding="utf-8"))
    assert recorded[name] == draw.entry(name, page), f"docs/pictures/{name} is out of date: {ANEW}"


@pytest.mark.parametrize("part", ["<header id=", "box-sizing", '"use strict"', '"conventions"', "next-token"])
def test_another_page_is_noticed(part, page, tmp_path):
    text = page.read_text(encoding="utf-8")
    assert part in text
    (tmp_path / "other.html").write_text(text.replace(part, part.replace("e", "o").replace("x", "y")), encoding="utf-8")
    assert draw.made_from(tmp_path / "other.html") != draw.made_from(page)


def test_every_picture_is_small_and_has_a_place_to_stand():
    shown = [*draw.TERMINALS, *draw.VIEWS]
    pages = [path.read_text(encoding="utf-8") for path in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md"))]
    for name in shown:
        assert (draw.FOLDER / name).stat().st_size < 300_000
        assert any(f"pictures/{name}" in page for page in pages), name
