"""attn check and attn diff --html: the page is written besides; report, JSON and exit code stay as they are."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from attn_cli.commands import checking
from attn_cli.errors import InputError
from attn_cli.main import main
from tests.browser.verdict_pages import VerdictPages
from tests.cli.process import MINILM
from tests.reporters.html.pages import Page, floats_of


def page_of(path):
    return Page(path.read_text(encoding="utf-8")).payload


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory):
    return VerdictPages(tmp_path_factory.mktemp("verdicts"))


@pytest.fixture
def changed(tmp_path):
    path, tensors = tmp_path / "changed.safetensors", load_file(MINILM)
    tensors["layers.3.q"][0, 2] *= 2
    save_file(tensors, path)
    return str(path)


@pytest.mark.parametrize("command", [["check", MINILM], ["diff", MINILM, "--against", "textbook", "--layer", "1"]])
def test_the_report_is_printed_as_always(command, tmp_path, capsys):
    path = tmp_path / "page.html"
    assert main([*command, "--html", str(path)]) == 0
    with_page = capsys.readouterr()
    assert main(command) == 0
    assert with_page.out == capsys.readouterr().out
    assert with_page.err == ""
    assert page_of(path)["command"] == command[0]


def test_a_check_that_fails_writes_its_page_too(verdicts):
    shown = verdicts.faulty()  # checked with --json: exit code 1
    payload = page_of(shown.path)
    assert payload["check"]["state"] == "bad"
    told = [(one["code"], one["message"], one["batch"], one["head"], one["key"]) for one in payload["findings"]]
    assert told == [
        (one["code"], one["message"], one.get("batch"), one.get("head"), one.get("key")) for one in shown.findings
    ]
    assert [rule["code"] for rule in payload["check"]["rules"]] == [rule["code"] for rule in shown.data["rules"]]
    assert all(rule[part] for rule in payload["check"]["rules"] for part in ("sentence", "why", "example", "source"))


def test_a_file_that_cannot_be_read_is_told_beside_the_others(tmp_path, capsys):
    bad, path = tmp_path / "bad.safetensors", tmp_path / "page.html"
    bad.write_bytes(b"nothing")
    assert main(["check", str(bad), MINILM, "--html", str(path)]) == 2
    capsys.readouterr()
    payload = page_of(path)
    assert payload["check"]["state"] == "bad"
    assert payload["check"]["refused"][0].startswith("bad.safetensors: ")
    assert str(tmp_path) not in path.read_text(encoding="utf-8")
    assert len(payload["calls"]) == 6


def test_files_of_one_name_are_told_apart(tmp_path, capsys):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        save_file({one: torch.randn(1, 2, 5, 4) for one in "qkv"}, tmp_path / name / "x.safetensors")
    files, path = [str(tmp_path / name / "x.safetensors") for name in ("a", "b")], tmp_path / "page.html"
    main(["check", *files, "--html", str(path)])
    capsys.readouterr()
    assert [one["name"] for one in page_of(path)["check"]["files"]] == ["a/x.safetensors", "b/x.safetensors"]


def test_both_sides_of_a_difference_are_in_the_page(changed, tmp_path, capsys):
    path = tmp_path / "page.html"
    assert main(["diff", MINILM, changed, "--layer", "3", "--json", "--html", str(path)]) == 1
    data = json.loads(capsys.readouterr().out)["data"]
    payload = page_of(path)
    (pair,) = payload["diff"]["pairs"]
    left, right = (payload["calls"][pair[side]] for side in ("left", "right"))
    assert (left["side"], right["side"]) == ("A", "B")
    of_page = sorted(pair["weights"]["heads"], key=lambda one: (one["batch"], one["head"]))
    for told, head in zip(of_page, data["calls"][0]["heads"], strict=True):
        at = head["batch"] * 12 + head["head"]
        ours, theirs = (abs(floats_of(call["heads"][at]["exact"], 18, 18)) for call in (left, right))
        assert abs(ours - theirs).max() == pytest.approx(head["weights"]["max_abs_error"], abs=1e-6)
        numbers = dict(zip(payload["diff"]["numbers"], told["numbers"], strict=True))
        assert numbers["max_abs_error"] == pytest.approx(head["weights"]["max_abs_error"], rel=1e-6)
        assert told["within"] == head["weights"]["within"]


def test_a_budget_is_kept(tmp_path, capsys):
    budget, path = 250_000, tmp_path / "page.html"
    sides = []
    for seed in (1, 2):
        generator = torch.Generator().manual_seed(seed)
        sides.append(str(tmp_path / f"{seed}.safetensors"))
        save_file({one: torch.randn(1, 4, 300, 8, generator=generator) for one in "qkv"}, sides[-1])
    for command in (["check", *sides], ["diff", *sides]):
        main([*command, "--html", str(path), "--html-budget", str(budget)])
        assert capsys.readouterr().err == ""
        assert path.stat().st_size <= budget
        sizes = {(call["picture"]["rows"], call["picture"]["columns"]) for call in page_of(path)["calls"]}
        assert len(sizes) == 1  # two sides can be subtracted, two files have as much
        assert min(min(sizes)) >= 16


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["check", "IN"], "would replace the input"),
        (["diff", "IN", MINILM], "would replace the input"),
        (["diff", MINILM, "IN"], "would replace the input"),
        (["check", "--rule", "ATTN001"], "expected no --html"),
    ],
)
def test_what_cannot_be_written_is_refused_first(command, words, tmp_path, capsys):
    path = tmp_path / "in.html"
    with open(MINILM, "rb") as file:
        path.write_bytes(file.read())
    size = path.stat().st_size
    assert main([str(path) if one == "IN" else one for one in command] + ["--html", str(path)]) == 2
    assert words in capsys.readouterr().err
    assert path.stat().st_size == size


def _saved(folder, seed, queries=300, heads=4):
    generator = torch.Generator().manual_seed(seed)
    path = folder / f"{seed}-{queries}.safetensors"
    save_file({one: torch.randn(1, heads, queries, 8, generator=generator) for one in "qkv"}, path)
    return str(path)


def _written(capsys, path, *arguments):
    main([*arguments, "--html", str(path), "--html-budget", "1MB"])
    capsys.readouterr()
    return path.stat().st_size, page_of(path)["calls"]


def test_several_files_and_both_sides_use_most_of_their_budget(tmp_path, capsys):
    path, files = tmp_path / "page.html", [_saved(tmp_path, seed) for seed in (1, 2)]
    for command in ("check", "diff"):
        size, _ = _written(capsys, path, command, *files)
        assert 650_000 < size <= 1_000_000, command


def test_what_a_small_file_leaves_goes_to_the_next(tmp_path, capsys):
    path, small, large = tmp_path / "page.html", _saved(tmp_path, 1, 4, 1), _saved(tmp_path, 2, 700)
    rows = {}
    for name, files in {"alone": [large], "after": [small, large], "before": [large, small]}.items():
        _, calls = _written(capsys, path, "check", *files)
        rows[name] = max(call["picture"]["rows"] for call in calls)
    assert rows["before"] < rows["after"]
    assert rows["after"] > 0.9 * rows["alone"]


def test_a_file_that_is_refused_midway_leaves_its_room_to_the_others(tmp_path, monkeypatch, capsys):
    path, good = tmp_path / "page.html", _saved(tmp_path, 1, 700)
    files = [_saved(tmp_path, 2, 700), good]
    alone, _ = _written(capsys, path, "check", good)
    check = checking.check_call

    def refuse(call, *rest):
        if call.record.source == files[0]:
            raise InputError(f"{files[0]}: cannot be checked; expected another")
        return check(call, *rest)

    monkeypatch.setattr(checking, "check_call", refuse)  # after its call was planned
    beside, calls = _written(capsys, path, "check", *files)
    assert len(calls) == 1
    assert beside > 0.93 * alone


def test_a_file_that_cannot_be_opened_leaves_its_room_to_the_others(tmp_path, capsys):
    path, good, bad = tmp_path / "page.html", _saved(tmp_path, 1, 700), tmp_path / "bad.safetensors"
    bad.write_bytes(b"nothing")
    alone, _ = _written(capsys, path, "check", good)
    beside, _ = _written(capsys, path, "check", str(bad), good)
    assert beside > 0.93 * alone
