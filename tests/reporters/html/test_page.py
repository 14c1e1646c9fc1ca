"""A page is one harmless file: nothing in the data is markup, and nothing but its own script and style runs."""

import base64
import hashlib
import importlib.resources
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attn_cli.errors import ResourceError, UsageError
from attn_cli.reporters.html import check_page, write_page
from attn_cli.reporters.html.page import LARGE_BLOB, assemble, own_parts
from attn_cli.results import RunResult
from tests.attention.calls import make_call
from tests.reporters.html.pages import PARTS, Page, call_of, packaged, read_by, written
from tests.reporters.results_for_tests import Case

HOSTILE = (
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<!--<script>",
    "]]>&lt;b&gt;&amp;",
    "\u202eevil\u202c \u2066x\u2069",
    "\x1b[31mred\x1b[0m\x00\x07",
    "line\u2028break\u2029\n\t",
    "\ud800 alone",
    "__SCRIPT____CSP____DATA__",
    '" onmouseover="alert(1)',
    "x" * 10_000,
)


def hostile_call(texts=HOSTILE):
    case = Case(
        batch=1, heads=2, queries=len(texts), keys=len(texts), tokens=(tuple(texts),), source=texts[0],
        prefix=f"layers.{texts[1]}", backend_note=texts[2],
    )  # fmt: skip
    return call_of(make_call(1, 2, queries=len(texts), keys=len(texts)), case=case)


def test_hostile_texts_are_data_and_nothing_else(tmp_path):
    page, _, data = written(tmp_path, hostile_call())
    harmless, _, _ = written(tmp_path, hostile_call(["a"] * len(HOSTILE)))
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in harmless.elements]
    assert [sorted(attributes) for _, attributes in page.elements] == [
        sorted(attributes) for _, attributes in harmless.elements
    ]
    assert page.texts["script"] == PARTS.script
    for character in "\u202e\u202c\u2066\u2069\u2028\u2029\x1b\x00\x07":
        assert character not in data.decode()
    tokens = page.payload["tokens"][0]
    assert tokens[0].startswith("</script><script>alert(1)")
    assert tokens[4] == r"\u202eevil\u202c␣\u2066x\u2069"
    assert tokens[5].startswith(r"\x1b[31mred")
    assert tokens[7] == r"\ud800␣alone"
    assert max(map(len, tokens)) <= 48


@settings(deadline=None, max_examples=60)
@given(st.lists(st.text(st.characters(), max_size=12), min_size=1, max_size=4))
def test_any_text_comes_back_from_the_data_as_text(texts):
    page = Page(assemble({"texts": [text.encode(errors="replace").decode() for text in texts]}, texts[0], PARTS))
    assert page.payload["texts"] == [text.encode(errors="replace").decode() for text in texts]
    assert [tag for tag, _ in page.elements] == ["html", "head", "meta", "title", "style", "body", "script", "script"]


def sha256(text):
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@pytest.mark.parametrize("parts", [PARTS, None], ids=["stub", "own"])
def test_the_policy_allows_the_pages_own_script_and_style_alone(parts):
    parts = parts or own_parts()
    text = assemble({}, "t", parts)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1]
    assert policy.split("; ") == [
        "default-src 'none'",
        f"script-src 'sha256-{sha256(re.findall(r'<script>(.*?)</script>', text, re.S)[-1])}'",
        f"style-src 'sha256-{sha256(re.search(r'<style>(.*?)</style>', text, re.S)[1])}'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
    ]


def test_what_comes_with_attn_asks_for_nothing_and_runs_under_the_policy():
    text = assemble({"format": "attn.page/1"}, "a title", own_parts())
    page = Page(text)
    for tag, attributes in page.elements:
        assert tag not in ("link", "iframe", "object", "embed", "base", "img")
        assert not {name for name in attributes if name.startswith("on") or name in ("src", "style")}
    assert "attn-data" in page.texts
    assert page.payload == {"format": "attn.page/1"}
    assert "__" + "STYLE__" not in text
    assert "<title>a title</title>" in text
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "fetch(", "XMLHttpRequest"):
        assert word not in own_parts().script


def test_large_blobs_stand_outside_of_the_json_and_come_back():
    large, small = ({"n": 9, "z": True, "b": letter * length} for letter, length in (("Q", LARGE_BLOB), ("q", 9)))
    payload = {"calls": [{"heads": [{"cells": large, "sink": small}, {"cells": large, "sink": None}]}]}
    page = Page(assemble(payload, "t", own_parts()))
    assert page.payload == payload
    assert "QQQQ" not in page.texts["attn-data"]
    assert [one.get("type") for tag, one in page.elements if tag == "script"] == [
        "application/json", "text/plain", "text/plain", None,
    ]  # fmt: skip
    assert Page(assemble(payload, "t", PARTS)).payload == payload  # a template without a place for them


def test_the_wheel_holds_template_styles_and_scripts(monkeypatch):
    folder = importlib.resources.files("attn_cli.reporters.html")
    order = (folder / "script" / "order.txt").read_text(encoding="utf-8").split()
    assert {one.name for one in (folder / "script").iterdir() if one.name.endswith(".js")} == set(order)
    assert len(order) == len(set(order))
    read = read_by(monkeypatch, own_parts)
    assert {"template.html", "page.css", "verdict.css", "script/order.txt", "script/main.js"} <= read
    assert read <= packaged(read)


def test_data_hold_no_number_that_json_lacks(tmp_path):
    call = make_call()
    call.q[:] = float("nan")
    page, _, _ = written(tmp_path, call_of(call))
    assert page.payload["calls"][0]["heads"][0]["metrics"][0] is None
    assert not re.search(r"NaN|Infinity", json.dumps(page.payload["calls"]))


def test_a_failed_write_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "page.html"
    path.write_text("before")
    monkeypatch.setattr(Path, "write_bytes", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(ResourceError, match="No space left"):
        write_page(RunResult("run", (call_of(make_call()),)), str(path), parts=PARTS)
    assert path.read_text() == "before"
    assert [one.name for one in tmp_path.iterdir()] == ["page.html"]


@pytest.mark.parametrize("name", ["out.safetensors", "out.JSON", "out.svg", "out.npz"])
def test_a_name_that_promises_another_format_is_refused(name, tmp_path):
    with pytest.raises(UsageError, match="it is written as HTML"):
        check_page(str(tmp_path / name))


def test_an_input_a_folder_and_another_output_are_refused(tmp_path):
    (tmp_path / "in.html").write_text("")
    with pytest.raises(UsageError, match="would replace the input"):
        check_page(str(tmp_path / "in.html"), (None, str(tmp_path / "in.html")))
    with pytest.raises(UsageError, match="would replace the other output"):
        check_page(str(tmp_path / "new"), (str(tmp_path / "." / "new"),))
    for path, words in ((str(tmp_path), "no regular file"), (str(tmp_path / "a" / "b.html"), "no such folder")):
        with pytest.raises(ResourceError, match=words):
            check_page(path)
    check_page(str(tmp_path / "page.html"), (None, str(tmp_path / "in.html")))


def test_the_title_names_file_and_command_but_no_folder(tmp_path):
    result = call_of(make_call(1, 2, queries=3, keys=4), case=Case(source="/home/someone/a <b>.safetensors"))
    page, _, _ = written(tmp_path, replace(result), command="demo")
    assert page.texts["title"] == "a <b>.safetensors · attn demo"
    assert page.payload["title"] == page.texts["title"]
    assert "someone" not in json.dumps(page.payload)


def test_without_scripts_no_other_command_is_named():
    told = own_parts().template.partition("<noscript>")[2].partition("</noscript>")[0]
    assert "--json" in told
    assert "attn run" not in told
