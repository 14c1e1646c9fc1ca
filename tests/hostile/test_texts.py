"""Names, tokens and metadata of a stranger's file: shown as text on every surface, exact in JSON."""

import json
import sys
import xml.etree.ElementTree as ElementTree

import pytest
import torch
from safetensors.torch import save_file

from tests.cli.process import BAR_AT_ONCE
from tests.hostile.law import accepted, refused
from tests.hostile.test_values import NAN, document, heads
from tests.hostile.texts import LONG, TEXTS, check_harmless, check_shown, controls, on_a_terminal
from tests.hostile.warm import warm

COLOUR = {"FORCE_COLOR": "1"}
ROW = ("--head", "0", "--query", "2")
SEVERAL = list(TEXTS.values())


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Files with these texts in every place where a file has text."""
    folder = tmp_path_factory.mktemp("texts")
    broken = heads(queries=4)
    broken["q"][0, 0, 0, 0], broken["v"][0, 0, 1, 0] = NAN, NAN
    tokens = json.dumps([SEVERAL])
    call = {name: json.dumps({"number": 1, "function": text, "caller": text, "module": text, "dropout": 0.1})
            for name, text in TEXTS.items()}  # fmt: skip
    content = {
        "names": ({f"{text}.{name}": x for text in SEVERAL for name, x in heads().items()},
                  {f"{text}.call": call[name] for name, text in TEXTS.items()}),
        "broken": ({f"{text}.{name}": x for text in SEVERAL for name, x in broken.items()}
                   | {f"sound.{name}": x for name, x in heads().items()}, {}),
        "tokens": (heads(queries=len(SEVERAL), keys=len(SEVERAL)), {"tokens": tokens, SEVERAL[0]: SEVERAL[1]}),
        "unclear": ({text: torch.zeros(2) for text in SEVERAL}, {}),
        "unfit": ({f"{SEVERAL[0]}.{name}": x for name, x in heads(mask=torch.ones(7, 7).bool()).items()}, {}),
        "extra": (heads(**{text: torch.zeros(1) for text in SEVERAL}), {}),
        "long": (heads(), {"tokens": json.dumps([[LONG, "a", LONG, "b"]])}),
        "one": ({f"{TEXTS['clipboard']}.{name}": x for name, x in heads().items()}, {}),
    }  # fmt: skip
    paths = {name: folder / f"{name}.safetensors" for name in content}
    for name, (tensors, metadata) in content.items():
        save_file({key: x.clone() for key, x in tensors.items()}, paths[name], metadata)
    return paths


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "names"), ("run", "names", "--metric", "entropy", "--sort", "high"), ("diff", "names", "names"),
        ("explain", "names", *ROW), ("run", "broken"), ("check", "broken", "--strict"),
        ("run", "tokens", "--head", "0"), ("explain", "tokens", *ROW), ("explain", "tokens", *ROW, "--key", "1"),
        ("run", "unclear"), ("run", "unfit"), ("run", "extra"), ("run", "extra", "--q", "nope"),
        ("run", "names", "--prefix", "nope"), ("run", "one", "--similarity"), ("run", "long"),
        ("explain", "long", *ROW),
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_terminal_gets_text_and_nothing_else(files, arguments):
    given = [str(files[one]) if one in files else one for one in arguments]
    shown = check_shown(warm(*given, **COLOUR))
    assert "EVIL" in shown
    assert len(shown) < 100_000


def test_what_is_no_character_is_written_out_and_markup_is_left_as_it_is(files):
    shown = "".join(check_shown(warm("run", str(files["names"]), COLUMNS="2000", **COLOUR)).split("\n"))
    for name in ("markup", "closing", "markup-link", "emoji-code", "wide", "mathtext"):
        assert TEXTS[name] in shown
    assert r"\x1b]52;c;RVZJTA==\x07EVIL" in shown
    assert r"\u202eEVIL\u202c" in shown
    assert r"EVIL\nattn: error: forged\r\n" in shown


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals on Windows")
@pytest.mark.parametrize("arguments", [("run", "names"), ("run", "tokens", "--head", "0"), ("check", "broken")])
def test_so_does_a_real_one_with_a_progress_bar(files, arguments):
    command, name, *rest = arguments
    ended, written = on_a_terminal(command, str(files[name]), *rest, before=BAR_AT_ONCE)
    accepted(ended)
    bare = check_harmless(written, may_move=True)
    assert b"EVIL" in bare
    assert b"\x1b[?25l" in written  # there was a bar


def test_json_has_every_name_and_text_as_it_is(files):
    found = document(warm("run", str(files["names"]), "--json"))
    assert {head["module"] for head in found["data"]["heads"]} == set(SEVERAL)
    assert {one["name"] for one in found["data"]["input"]["tensors"]} == {
        f"{t}.{name}" for t in SEVERAL for name in "qkv"
    }
    found = document(warm("run", str(files["extra"]), "--json"))
    assert {one["name"] for one in found["data"]["input"]["unused"]} == set(SEVERAL)
    told = document(warm("explain", str(files["tokens"]), *ROW, "--top", "99", "--json"))
    assert set(SEVERAL) <= set(strings(told))
    told = document(warm("explain", str(files["long"]), *ROW, "--top", "9", "--json"))
    assert LONG in set(strings(told))


def strings(value):
    """Every text in a document."""
    if isinstance(value, str):
        yield value
    for one in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from strings(one)


def test_a_lone_surrogate_is_shown_written_out_and_exact_in_json(tmp_path):
    save_file(heads(), tmp_path / "x.safetensors", {"tokens": r'[["\ud800EVIL", "b\udfff", "c", "d"]]'})
    path = str(tmp_path / "x.safetensors")
    assert r"\ud800EVIL" in check_shown(warm("explain", path, *ROW, **COLOUR))
    told = document(warm("explain", path, *ROW, "--json"))
    assert "\ud800EVIL" in set(strings(told))


@pytest.mark.parametrize("name", ["names", "broken", "tokens", "long"])
def test_a_page_and_a_screenshot_hold_no_control_character_and_no_foreign_tag(files, name, tmp_path):
    page, screenshot = tmp_path / "x.html", tmp_path / "x.svg"
    accepted(warm("run", str(files[name]), "--html", str(page), "--screenshot", str(screenshot), "--head", "0"))
    for path in (page, screenshot):
        content = path.read_bytes()
        assert b"<img" not in content
        assert not controls(content.replace(b"\t", b""))
    assert ElementTree.parse(screenshot).getroot().tag.endswith("svg")


def test_figures_show_text_as_text(files, tmp_path):
    svg, pdf = tmp_path / "x.svg", tmp_path / "x.pdf"
    accepted(warm("run", str(files["tokens"]), "--head", "0", "--svg", str(svg), "--pdf", str(pdf), seconds=30))
    text = svg.read_bytes()
    assert not controls(text)
    assert b"EVIL" in text
    assert ElementTree.fromstring(text).tag.endswith("svg")
    assert pdf.stat().st_size > 1000


def test_an_error_is_one_line_whatever_stands_in_the_file(files):
    line = refused(warm("run", str(files["unfit"]), **COLOUR), names=files["unfit"])
    assert r"\x1b[38;5;201mEVIL" in line
