"""attn bench --html: a page besides what is printed, which is printed whatever becomes of the page."""

import json
import os
from dataclasses import replace

import pytest

from attn_cli.benchmark.statistics import summarize
from attn_cli.commands import benching
from attn_cli.errors import ResourceError
from attn_cli.main import main
from tests.reporters.bench_results import FULL
from tests.reporters.html.pages import Page

ALONE = replace(FULL, comparison=None)


@pytest.fixture
def bench(monkeypatch, capsys):
    """Runs ``attn bench`` with the measuring replaced by this report; gives the exit code, stdout and stderr."""

    def run(*arguments, report=ALONE):
        monkeypatch.setattr(benching, "run_bench", lambda *_: report)
        return main(["bench", "--device", "cpu", *arguments]), *capsys.readouterr()

    return run


@pytest.mark.parametrize("form", [[], ["--json"], ["--csv"], ["--markdown"]], ids=["table", "json", "csv", "markdown"])
def test_what_is_printed_is_printed_as_always(bench, tmp_path, form):
    path = tmp_path / "page.html"
    assert bench(*form, "--html", str(path)) == bench(*form)
    assert "Some Processor · attn bench" in path.read_text(encoding="utf-8")


def test_its_numbers_are_those_of_the_json(bench, tmp_path):
    path = tmp_path / "page.html"
    _, out, err = bench("--json", "--html", str(path))
    assert err == ""
    told = Page(path.read_text(encoding="utf-8")).payload["results"]
    wanted = json.loads(out)["data"]["results"]
    assert [one["ms"] and one["ms"]["samples"] for one in told] == [
        one["ms"] and one["ms"]["samples"] for one in wanted
    ]
    assert [one["share_of_peak"] for one in told] == [one["share_of_peak"] for one in wanted]


def test_a_budget_is_kept_by_thinning_the_samples_or_warned_of(bench, tmp_path):
    path, samples = tmp_path / "page.html", tuple(1 + number / 1000 for number in range(3000))
    report = replace(ALONE, results=(replace(FULL.results[0], ms=summarize(samples)),))
    bench("--html", str(path), report=report)
    whole = path.stat().st_size
    for budget, is_whole in ((whole, True), (whole - 9000, False)):
        code, _, err = bench("--html", str(path), "--html-budget", str(budget), report=report)
        assert (code, err) == (0, "")
        assert path.stat().st_size <= budget
        assert (Page(path.read_text(encoding="utf-8")).payload["results"][0]["ms"]["every"] == 1) == is_whole
    _, _, err = bench("--html", str(path), "--html-budget", "10kB", report=report)
    assert err.startswith(f"attn: warning: {path}: with 12 samples a result it still takes ")
    assert err.endswith("more than the 10 kB of --html-budget\n")


def test_an_interrupted_run_has_its_page(bench, tmp_path):
    path = tmp_path / "page.html"
    code, out, _ = bench("--html", str(path), report=replace(FULL, comparison=None, was_interrupted=True))
    assert code == 130
    assert "Interrupted" in out
    assert Page(path.read_text(encoding="utf-8")).payload["interrupted"] is True


def test_what_was_measured_is_printed_where_the_page_cannot_be_written(bench, tmp_path, monkeypatch):
    def refuse(*_):
        raise ResourceError("page.html: cannot be written: No space left on device; expected a writable file")

    monkeypatch.setattr(benching, "write_bench_page", refuse)
    code, out, err = bench("--html", str(tmp_path / "page.html"))
    assert code == 3
    assert "Growth" in out
    assert "No space left" in err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--html", "out.json"], 2, "it is written as HTML"),
        (["--html", "nowhere/out.html"], 3, "no such folder"),
        (["--html-budget", "2MB"], 2, "found no page"),
        (["--html", "same", "--save", "same"], 2, "would replace the other output"),
    ],
)
def test_a_place_that_cannot_be_is_refused_before_anything_is_measured(
    arguments, code, words, bench, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    found, out, err = bench(*arguments)
    assert (found, out) == (code, "")
    assert words in err
    assert os.listdir(tmp_path) == []
