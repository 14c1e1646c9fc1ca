"""The page of a benchmark holds the numbers of its JSON and every text as text, and stays small."""

import importlib.resources
import json
import re
from dataclasses import replace

import numpy as np
import pytest

from attn_cli.benchmark.types import FLOPS_FORMULA, Peaks
from attn_cli.reporters.html.bench import bench_parts
from attn_cli.reporters.html.page import assemble
from attn_cli.reporters.json_report import bench_document
from tests.reporters.bench_results import CASE, EMPTY, FULL, REPORTS, result, skipped
from tests.reporters.html.bench_pages import HOSTILE, report_saying, written
from tests.reporters.html.pages import Page, packaged, read_by
from tests.reporters.html.test_page import sha256

TEXTS = ("reason", "kernel")  # are made harmless


@pytest.mark.parametrize("report", REPORTS.values(), ids=REPORTS)
def test_its_numbers_are_those_of_the_json(report, tmp_path):
    page, warning, _ = written(tmp_path, report)
    assert warning is None
    data = bench_document(report)["data"]
    assert page.payload["format"] == "attn.bench-page/1"
    assert page.payload["peaks"] == data["peaks"]
    assert page.payload["interrupted"] == data["interrupted"]
    assert page.payload["comparison"] == data["comparison"]
    for told, wanted in zip(page.payload["results"], data["results"], strict=True):
        formulas = page.payload["formulas"][told["mode"]]
        assert (formulas["flops"], formulas["bytes"]) == (wanted["flops_formula"], wanted["bytes_formula"])
        for name in wanted.keys() - {"ms", "flops_formula", "bytes_formula", *TEXTS}:
            assert told[name] == wanted[name], name
        assert (told["ms"] is None) == (wanted["ms"] is None)
        if told["ms"] is not None:
            assert {name: told["ms"][name] for name in wanted["ms"]} == wanted["ms"]
            assert told["ms"]["quartiles"] == pytest.approx(np.percentile(wanted["ms"]["samples"], (25, 75)))
    for told, wanted in zip(page.payload["growth"], data["growth"], strict=True):
        assert {name: told[name] for name in wanted} == wanted


def test_an_environment_is_told_with_its_units(tmp_path):
    page, _, _ = written(tmp_path, FULL)
    told = {one["key"]: (one["name"], one["text"]) for one in page.payload["environment"]}
    assert told["cpu_mhz"] == ("cpu", "2100 MHz")
    assert told["threads"] == ("threads", "2")
    assert "cuda" not in told  # a processor has none


def test_only_the_right_ones_may_be_the_quickest(tmp_path):
    page, _, _ = written(tmp_path, FULL)
    assert {one["backend"] for one in page.payload["results"] if one["is_quick"]} == {
        "textbook", "sdpa", "flash", "math",
    }  # fmt: skip


def test_the_first_length_that_does_not_fit_goes_with_its_series(tmp_path):
    longer = replace(CASE, queries=4096, keys=4096)
    other = replace(CASE, queries=1, keys=8192)
    report = replace(FULL, results=(*FULL.results, skipped("math", longer), skipped("sdpa", other)))
    page, _, _ = written(tmp_path, report)
    too_long = {one["backend"]: one["too_long"] for one in page.payload["growth"]}
    assert too_long == {
        "textbook": [],
        "sdpa": [],
        "flash": [],
        "math": [{"keys": 2048, "reason": "it would need about 64 GiB, and 12 GiB are available"}],
    }


def _sampled(count, results=1):
    one = result("sdpa", 2.0)
    assert one.ms is not None
    samples = tuple(2.0 + 0.001 * number for number in range(count))
    many = tuple(replace(one, ms=replace(one.ms, samples=samples)) for _ in range(results))
    return replace(FULL, results=many, growth=(), comparison=None)


def test_samples_are_thinned_until_the_page_fits(tmp_path):
    page, warning, data = written(tmp_path, _sampled(5000, 8), budget=300_000)
    ms = page.payload["results"][0]["ms"]
    assert warning is None
    assert len(data) <= 300_000
    assert ms["every"] > 1
    assert ms["count"] == 5000
    assert ms["samples"] == pytest.approx([2.0 + 0.001 * number for number in range(0, 5000, ms["every"])])
    assert ms["max"] == pytest.approx(2.0 + 0.001 * 4999)
    assert ms["quartiles"] == pytest.approx([2.0 + 0.001 * 4999 / 4, 2.0 + 0.001 * 4999 * 3 / 4])


def test_every_sample_is_there_where_there_is_room(tmp_path):
    page, _, _ = written(tmp_path, _sampled(1234))
    assert page.payload["results"][0]["ms"]["every"] == 1
    assert len(page.payload["results"][0]["ms"]["samples"]) == 1234


def test_what_does_not_fit_at_all_is_written_and_warned_of(tmp_path):
    page, warning, data = written(tmp_path, _sampled(100, 40), budget=50_000)
    assert len(data) > 50_000
    assert "with 12 samples a result it still takes" in warning
    assert all(len(one["ms"]["samples"]) <= 12 for one in page.payload["results"])


def test_hostile_texts_are_data_and_nothing_else(tmp_path):
    page, _, data = written(tmp_path, report_saying(HOSTILE))
    harmless, _, _ = written(tmp_path, report_saying(["a"] * 4))
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in harmless.elements]
    assert page.texts["script"].rstrip() == bench_parts().script
    for character in "\u202e\u202c\u2028\x1b\x00":
        assert character not in data.decode()
    assert page.payload["comparison"]["notes"][2] == r"\u202eevil\u202c\x1b[31m\x00"


def test_the_folders_of_a_baseline_stay_at_home(tmp_path):
    comparison = replace(FULL.comparison, file="/home/someone/secret/old.json")
    page, _, data = written(tmp_path, replace(FULL, comparison=comparison))
    assert page.payload["comparison"]["file"] == "old.json"
    assert b"secret" not in data


def test_numbers_that_are_not_finite_are_not_in_it(tmp_path):
    bad = replace(result("sdpa", 2.0), max_abs_error=float("nan"), share_of_tolerance=float("inf"))
    page, _, _ = written(tmp_path, replace(EMPTY, results=(bad,), peaks=Peaks({}, float("nan"))))
    assert page.payload["results"][0]["max_abs_error"] is None
    assert page.payload["formulas"]["forward"]["flops"] == FLOPS_FORMULA["forward"]
    assert not re.search(r"NaN|Infinity", json.dumps(page.payload))


def test_only_its_own_script_and_style_run_and_nothing_is_asked_for():
    parts = bench_parts()
    text = assemble({}, "t", parts)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1]
    assert f"script-src 'sha256-{sha256(re.findall(r'<script>(.*?)</script>', text, re.S)[-1])}'" in policy
    assert f"style-src 'sha256-{sha256(re.search(r'<style>(.*?)</style>', text, re.S)[1])}'" in policy
    for tag, attributes in Page(text).elements:
        assert tag not in ("link", "iframe", "object", "embed", "base", "img")
        assert not {name for name in attributes if name.startswith("on") or name in ("src", "style")}
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "fetch(", "XMLHttpRequest"):
        assert word not in parts.script
    assert '"style"' not in parts.script


def test_the_wheel_holds_its_files(monkeypatch):
    folder = importlib.resources.files("attn_cli.reporters.html.bench")
    order = (folder / "script" / "order.txt").read_text(encoding="utf-8").split()
    own = {one.name for one in (folder / "script").iterdir() if one.name.endswith(".js")}
    assert {name for name in order if "/" not in name} == own
    assert len(order) == len(set(order))
    read = read_by(monkeypatch, bench_parts)
    assert {"bench/template.html", "page.css", "bench/bench.css", "bench/script/order.txt"} <= read
    assert read <= packaged(read)
