"""attn run and attn demo --html: the page is written besides, and the report is printed as always."""

import json
import os

import pytest

from attn_cli.main import main
from tests.cli.process import SAMPLES
from tests.reporters.html.pages import Page, codes_of, floats_of

MINILM = str(SAMPLES / "minilm.safetensors")
DEMO = ["demo", "--repeat", "1"]


def page_of(path):
    return Page(path.read_text(encoding="utf-8")).payload


def without_times(text):
    return [line for line in text.splitlines() if " ms" not in line and " µs" not in line]


def test_the_report_is_printed_as_always(tmp_path, capsys):
    path = tmp_path / "page.html"
    assert main([*DEMO, "--html", str(path)]) == 0
    with_page = capsys.readouterr()
    assert main(DEMO) == 0
    assert without_times(with_page.out) == without_times(capsys.readouterr().out)
    payload = page_of(path)
    assert (payload["command"], payload["title"]) == ("demo", "random tensors · attn demo")


def test_weights_of_the_page_are_those_of_the_json(tmp_path, capsys):
    path = tmp_path / "page.html"
    assert main([*DEMO, "--causal", "--json", "--weights", "--html", str(path)]) == 0
    data = json.loads(capsys.readouterr().out)["data"]
    (call,) = page_of(path)["calls"]
    assert call["exact_kind"] == "all"
    assert len(call["heads"]) == len(data["heads"]) == 10
    for head, told in zip(call["heads"], data["heads"], strict=True):
        exact = abs(floats_of(head["exact"], call["queries"], call["keys"]))
        assert exact.tolist() == data["weights"][head["batch"]][head["head"]]
        assert head["label"] == told["label"]
        assert [weight for *_, weight in head["top"][:3]] == pytest.approx(
            [pair["weight"] for pair in told["top"]], rel=1e-6
        )


@pytest.mark.parametrize(("top", "listed"), [(0, 10), (3, 10), (12, 12)])
def test_a_page_lists_ten_pairs_of_each_head_or_more(top, listed, tmp_path, capsys):
    path = tmp_path / "page.html"
    arguments = [*DEMO, "--batch", "1", "--heads", "2", "--num-hiddens", "8", "--valid-lens", "6", "--json"]
    assert main([*arguments, "--top", str(top), "--html", str(path)]) == 0
    told = json.loads(capsys.readouterr().out)["data"]["heads"]
    assert [len(head["top"]) for head in told] == [top, top]
    (call,) = page_of(path)["calls"]
    for head, of_json in zip(call["heads"], told, strict=True):
        assert len(head["top"]) == listed
        assert [tuple(pair[:2]) for pair in head["top"][:top]] == [(one["query"], one["key"]) for one in of_json["top"]]


def test_json_holds_weights_only_where_they_were_asked_for(tmp_path, capsys):
    assert main([*DEMO, "--json", "--html", str(tmp_path / "page.html")]) == 0
    assert "weights" not in json.loads(capsys.readouterr().out)["data"]


def test_a_real_capture_is_exact_and_stays_small(tmp_path, capsys):
    path = tmp_path / "page.html"
    assert main(["run", MINILM, "--repeat", "1", "--html", str(path)]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert path.stat().st_size <= 2_000_000
    payload = page_of(path)
    assert [call["layer"] for call in payload["calls"]] == list(range(6))
    assert {call["exact_kind"] for call in payload["calls"]} == {"all"}
    assert payload["worth"]
    for call in payload["calls"]:
        assert len(call["heads"]) == len(call["batch"]) * 12
        assert len(payload["tokens"][call["tokens"][0]]) >= call["keys"]


def test_the_picture_is_the_whole_call_beside_a_zoom(tmp_path):
    path = tmp_path / "page.html"
    assert main(["run", MINILM, "--layer", "0", "--repeat", "1", "--zoom", "0:3,0:3", "--html", str(path)]) == 0
    (call,) = page_of(path)["calls"]
    assert (call["picture"]["rows"], call["picture"]["columns"]) == (call["queries"], call["keys"])
    codes_of(call["heads"][0]["cells"], call["queries"], call["keys"])


def test_a_budget_is_kept_by_pooling_and_said(tmp_path, capsys):
    path = tmp_path / "page.html"
    demo = [*DEMO, "--batch", "1", "--queries", "150", "--keys", "150", "--html", str(path)]
    assert main([*demo, "--html-budget", "300kB"]) == 0
    assert capsys.readouterr().err == ""
    assert path.stat().st_size <= 300_000
    assert "max-pooled" in page_of(path)["note"] or "windows" in page_of(path)["note"]


def test_a_budget_that_nothing_fits_is_warned_of(tmp_path, capsys):
    path = tmp_path / "page.html"
    assert main([*DEMO, "--html", str(path), "--html-budget", "1kB"]) == 0
    warning = capsys.readouterr().err
    assert warning.startswith(f"attn: warning: {path}: the least that it tells takes ")
    assert warning.endswith("more than the 1000 bytes of --html-budget\n")
    payload = page_of(path)
    assert payload["budget"] == {"bytes": 1000, "kept": False}
    assert "larger than asked for" in payload["note"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--html", "out.safetensors"], 2, "it is written as HTML"),
        (["--html", "nowhere/out.html"], 3, "no such folder"),
        (["--html", "."], 3, "it is the name of a folder"),
        (["--html", ""], 3, "the name is empty"),
        (["--html-budget", "2MB"], 2, "found no page"),
        (["--html", "out.html", "--html-budget", "big"], 2, "expected a size such as"),
        (["--html", "out.html", "--html-budget", "0"], 2, "expected a size from 1 byte"),
        (["--html", "same", "--save", "same"], 2, "would replace the other output"),
    ],
)
@pytest.mark.parametrize("command", [["demo"], ["run", MINILM]], ids=["demo", "run"])
def test_what_cannot_be_written_is_refused_first(command, arguments, code, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main([*command, *arguments]) == code
    captured = capsys.readouterr()
    assert words in captured.err
    assert captured.out == ""
    assert os.listdir(tmp_path) == []


def test_the_input_is_not_replaced(tmp_path, capsys):
    path = tmp_path / "in.html"
    path.write_bytes((SAMPLES / "minilm.safetensors").read_bytes())
    assert main(["run", str(path), "--html", str(path)]) == 2
    assert "would replace the input" in capsys.readouterr().err
    assert path.stat().st_size == (SAMPLES / "minilm.safetensors").stat().st_size


@pytest.mark.parametrize("order", [[], ["--causal"]], ids=["all keys", "causal"])
def test_most_of_a_budget_is_used(order, tmp_path, capsys):
    """Masked cells take next to nothing, so that a causal call is shown the finer."""
    path = tmp_path / "page.html"
    demo = [*DEMO, "--batch", "1", "--heads", "4", "--num-hiddens", "32", "--queries", "900", "--keys", "900", *order]
    assert main([*demo, "--html", str(path), "--html-budget", "700kB"]) == 0
    assert capsys.readouterr().err == ""
    assert 500_000 < path.stat().st_size <= 700_000


def test_a_figure_is_the_same_beside_a_page(tmp_path, monkeypatch, capsys):
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    demo = [*DEMO, "--batch", "1", "--heads", "1", "--num-hiddens", "8", "--queries", "300", "--keys", "300"]
    assert main([*demo, "--png", "alone.png"]) == 0
    assert main([*demo, "--png", "beside.png", "--html", "page.html"]) == 0
    capsys.readouterr()
    assert page_of(tmp_path / "page.html")["calls"][0]["picture"]["rows"] == 300  # finer than a figure
    assert (tmp_path / "alone.png").read_bytes() == (tmp_path / "beside.png").read_bytes()


@pytest.mark.parametrize("option", ["--html", "--save", "--svg", "--screenshot"])
def test_no_file_is_called_as_standard_output_is(option, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main([*DEMO, option, "-"]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"attn: error: {option} -: " if option in ("--svg", "--screenshot") else "attn: error: -: ")
    assert os.listdir(tmp_path) == []
