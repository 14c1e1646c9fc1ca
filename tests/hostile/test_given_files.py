"""What is given beside the tensors, or in their place: a baseline, tokens, a tokenizer, statistics of a recording."""

import copy
import json
import math
import os

import pytest
import torch
from safetensors.torch import save_file

from tests.hostile.law import accepted, refused, refused_as_json, unharmed
from tests.hostile.surroundings import MEASURED_BENCH
from tests.hostile.test_values import heads, module
from tests.hostile.warm import warm

ROW = ("--head", "0", "--query", "0")
BENCH = ("bench", "--seq", "512", "--backend", "textbook", "--baseline")
MEASURED = f"{MEASURED_BENCH}\nbenching.describe = lambda *_: FULL.environment\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A call, hidden states, and the statistics that a recording wrote."""
    path = tmp_path_factory.mktemp("given")
    save_file(heads(), path / "x.safetensors")
    save_file({"hidden_states": module()["hidden_states"]}, path / "hidden.safetensors")
    program = "import torch\nx = torch.ones(1, 2, 4, 8)\ntorch.nn.functional.scaled_dot_product_attention(x, x, x)\n"
    (path / "p.py").write_text(program)
    accepted(warm("record", "--stats", "-o", "stats.jsonl", "p.py", cwd=path))
    return path


TWICE = {
    "diff - -": "- and -",
    "diff - /dev/stdin": "- and /dev/stdin",
    "diff /dev/stdin link.json": "/dev/stdin and link.json",
    "diff x.safetensors x.safetensors --weights-file -": "--weights-file - and --weights-file -",
    "check - -": "- and -",
    "check - x.safetensors /dev/fd/0": "- and /dev/fd/0",
    "check x.safetensors /dev/stdin --weights-file -": "--weights-file - and /dev/stdin",
    "run - --weights-file -": "- and --weights-file -",
    "run - --weights-file /dev/stdin": "- and --weights-file /dev/stdin",
    "run - --tokens link.json": "- and --tokens link.json",
    "run hidden.safetensors --weights-file - --tokens link.json": "--weights-file - and --tokens link.json",
}


@pytest.mark.parametrize("arguments", TWICE)
def test_standard_input_by_whatever_name_is_read_once(folder, arguments):
    link = folder / "link.json"
    link.unlink(missing_ok=True)
    link.symlink_to("/dev/stdin")
    ended = warm(*arguments.split(), cwd=folder, stdin=(folder / "x.safetensors").read_bytes())
    refused(ended, says=f"{TWICE[arguments]}: standard input can be read once; expected a file instead of one")


@pytest.mark.parametrize("arguments", [
    "diff {0} {0}", "diff {0} {1}", "run {0} --weights-file {1}", "check {1} {0}", "run {1} --tokens {0}",
    "diff x.safetensors y.safetensors --weights-file {0}",
])  # fmt: skip
def test_a_named_pipe_by_whatever_name_is_read_once(tmp_path, arguments):
    """Refused before anybody has to write to it."""
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "link").symlink_to("pipe.json")
    for name in "xy":
        save_file({part: torch.ones(1, 1, 2, 4) for part in "qkv"}, tmp_path / f"{name}.safetensors")
    ended = warm(*arguments.format("pipe.json", "link").split(), cwd=tmp_path, seconds=3)
    line = refused(ended, says=": a pipe can be read once; expected a file instead of one")
    assert "pipe.json" in line


def test_a_file_behind_standard_input_has_its_own_name_too(folder):
    with (folder / "x.safetensors").open("rb") as file:
        accepted(warm("diff", "-", "x.safetensors", cwd=folder, stdin=file.fileno()))
    with (folder / "x.safetensors").open("rb") as file:
        accepted(warm("check", "x.safetensors", "x.safetensors", "-", cwd=folder, stdin=file.fileno()))


STATS = {
    "run": ("run", "stats.jsonl"), "check": ("check", "stats.jsonl"), "left": ("diff", "stats.jsonl", "x.safetensors"),
    "right": ("diff", "x.safetensors", "stats.jsonl"), "explain": ("explain", "stats.jsonl", *ROW),
    "weights": ("run", "hidden.safetensors", "--weights-file", "stats.jsonl"), "stdin": ("run", "-"),
}  # fmt: skip


@pytest.mark.parametrize("where", STATS)
def test_statistics_of_a_recording_are_no_tensors_and_it_is_said_what_they_are(folder, where):
    given = {"stdin": (folder / "stats.jsonl").read_bytes()} if where == "stdin" else {}
    with unharmed(folder):
        ended = warm(*STATS[where], cwd=folder, **given)
        refused(ended, names="-:" if given else "stats.jsonl:", says=("in no format that attn knows", "record --stats"))
        told = refused_as_json(warm(*STATS[where], "--json", cwd=folder, **given), STATS[where][0])
        assert "without --stats keeps the calls" in told["error"]["hint"]


NO_FILE = {
    "--tokenizer": ("run", "x.safetensors", "--tokenizer", "-"),
    "--baseline": ("bench", "--seq", "8", "--baseline", "-"),
    "--q": ("run", "--q", "-", "--k", "-", "--v", "-"),
}


@pytest.mark.parametrize("option", NO_FILE)
def test_standard_input_is_refused_where_a_file_is_needed(folder, option):
    refused(warm(*NO_FILE[option], stdin=b"{}", cwd=folder), names="-:", says="is standard input")
    refused_as_json(warm(*NO_FILE[option], "--json", stdin=b"{}", cwd=folder), NO_FILE[option][0], names="-:")


@pytest.fixture(scope="module")
def baseline(tmp_path_factory):
    """What a benchmark saved, for others to change."""
    path = tmp_path_factory.mktemp("baseline") / "base.json"
    accepted(warm("bench", "--save", str(path), before=MEASURED))
    found = json.loads(path.read_text())
    found["data"]["results"] = [one for one in found["data"]["results"] if one["backend"] == "textbook"][:1]
    return found


def changed(baseline, *place, value):
    """The baseline with another value at a place."""
    found = copy.deepcopy(baseline)
    inner = found
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    return found


RESULT = ("data", "results", 0)
BROKEN = {
    "data": (("data",), [], "no object where one belongs"),
    "results": (("data", "results"), {}, "no list where one belongs"),
    "result": (RESULT, [[[[1]]]], "no object where one belongs"),
    "setting": (("data", "environment", "torch"), {"a": 1}, "a setting that is neither text nor number"),
    "backend": ((*RESULT, "backend"), 3, "a backend that is no text"),
    "mode": ((*RESULT, "mode"), "\x1b[31m", "a case of mode \\x1b[31m"),
    "queries": ((*RESULT, "queries"), "8", "a case whose queries is no int"),
    "samples": ((*RESULT, "ms", "samples"), [True], "a sample that is no time"),
    "no samples": ((*RESULT, "ms", "samples"), [], "a result without samples"),
    "a sample of 10^300 ms": ((*RESULT, "ms", "samples"), [10**300], "a sample that is no time"),
    "a sample of 0 ms": ((*RESULT, "ms", "samples"), [0], "a sample that is no time"),
    "a sample that is NaN": ((*RESULT, "ms", "samples"), [math.nan], "it holds NaN"),
    "yardstick": ((*RESULT, "yardstick_ms"), -1, "a sample that is no time"),
    "schema": (("schema",), "attn.record/1", "its schema is attn.record/1; expected attn.bench/1"),
    "another machine": (("data", "environment", "device_name"), "x", "device name was x and is "),
    "other settings": (("data", "environment", "threads"), 10**30, f"threads was {10**30} and is "),
    "another case": ((*RESULT, "queries"), 3, "has no result in common with this run; expected the same backends"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_baseline_that_is_none_is_refused_before_anything_is_measured(tmp_path, baseline, case):
    place, value, says = BROKEN[case]
    path = tmp_path / "base.json"
    path.write_text(json.dumps(changed(baseline, *place, value=value)))
    with unharmed(tmp_path):
        refused(warm(*BENCH, str(path), before=MEASURED), names=f"{path}: ", says=says)
    if case in ("samples", "another machine", "another case"):
        refused_as_json(warm(*BENCH, str(path), "--json", before=MEASURED), "bench", names=f"{path}: ", says=says)


def test_a_baseline_without_a_key_or_with_a_result_twice_is_refused(tmp_path, baseline):
    path = tmp_path / "base.json"
    missing = copy.deepcopy(baseline)
    del missing["data"]["results"][0]["status"]
    twice = changed(baseline, "data", "results", value=baseline["data"]["results"] * 2)
    for found, says in ((missing, "status is missing in it"), (twice, "it holds two results of one backend and case")):
        path.write_text(json.dumps(found))
        refused(warm(*BENCH, str(path), before=MEASURED), names=f"{path}: ", says=says)


def test_a_baseline_of_another_version_with_more_in_it_than_is_read_is_taken(tmp_path, baseline):
    found = changed(baseline, "attn_version", value=[])
    found["data"]["environment"] |= {"torch": "0.1", **{f"k{number}": number for number in range(1000)}}
    path = tmp_path / "base.json"
    path.write_text(" " * 10**6 + json.dumps(found | {"more": [None]}))
    ended = accepted(warm(*BENCH, str(path), "--json", before=MEASURED))
    assert ended.json["data"]["comparison"]["entries"]


NO_TOKENS = {
    "one too many": (b'["a", "b", "c", "d", "e"]', "--tokens has 1 list of 5 texts; expected 1 list of 4"),
    "a list too many": (
        b'[["a", "b", "c", "d"], ["a", "b", "c", "d"]]',
        "has 2 lists of 4 texts; expected 1 list of 4",
    ),
    "ids, too few": (b"[1]", "--tokens has 1 list of 1 ids; expected 1 list of 4"),
    "other kinds": (b'["a", null, {}, 3]', "holds something else"),
    "a byte that no text has": (b'["\xc0\x80", "b", "c", "d"]', "it is not UTF-8 at byte 2"),
    "half of a surrogate": (b'["\xed\xa0\x80", "b", "c", "d"]', "it is not UTF-8 at byte 2"),
    "NUL as it is": (b'["a\0", "b", "c", "d"]', "is not valid JSON (Invalid control character"),
    "NUL behind it": (b'["a", "b", "c", "d"]\0', "is not valid JSON (Extra data"),
    "JSON lines": (b'["a"]\n["b"]\n["c"]\n["d"]\n', "is not valid JSON (Extra data"),
}


@pytest.mark.parametrize("case", NO_TOKENS)
def test_tokens_that_do_not_fit_are_refused(folder, tmp_path, case):
    content, says = NO_TOKENS[case]
    path = tmp_path / "tokens.json"
    path.write_bytes(content)
    for command in ("run",) if case != "one too many" else ("run", "check", "explain", "diff"):
        rest = {"explain": ROW, "diff": ("--against", "textbook")}.get(command, ())
        line = (command, "x.safetensors", *rest, "--tokens", str(path))
        refused(warm(*line, cwd=folder), names=f"{path}: ", says=says)
        refused_as_json(warm(*line, "--json", cwd=folder), command, names=f"{path}: ", says=says)


def test_so_they_are_by_a_comparison_of_two_files(folder):
    """Which would else compare the tensors of the same names alone."""
    (folder / "half.json").write_text('["a", ')
    ended = warm("diff", "x.safetensors", "x.safetensors", "--tokens", "half.json", cwd=folder)
    refused(ended, names="half.json: ", says="is not valid JSON")


@pytest.mark.parametrize("tokens", [["x" * 2**20] * 4, ["a\0", "", "\ud800", "\x1b]52;c;x\x07"], [-1, 2**63 - 1, 0, 5]])
def test_tokens_of_every_text_and_id_are_taken_and_exact_in_json(folder, tmp_path, tokens):
    path = tmp_path / "tokens.json"
    path.write_text(json.dumps(tokens))
    shown = accepted(warm("run", "x.safetensors", "--tokens", str(path), cwd=folder)).stdout.decode()
    assert len(shown) < 10**5
    assert all(line.isprintable() for line in shown.split("\n"))
    line = ("explain", "x.safetensors", *ROW, "--key", "0", "--tokens", str(path), "--json")
    told = accepted(warm(*line, cwd=folder)).json
    if isinstance(tokens[0], str):
        assert json.dumps(tokens[0]) in json.dumps(told)
