"""The lines of ``attn record --stats``: strict JSON that validates, and the numbers of ``attn run``."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from io import FileIO
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from jsonschema import Draft202012Validator
from safetensors.torch import save_file

from attn_cli.attention.selection import Selection, select
from attn_cli.inspection.metrics import METRICS
from attn_cli.main import main
from attn_cli.recording.types import CallSite
from attn_cli.recording.watching import Watcher, watch
from attn_cli.reporters.schema import LINES, schema_for
from attn_cli.reporters.watch_lines import WatchLines, watch_line
from tests.attention.calls import make_call
from tests.inspection.cases import cases, coin, drawn
from tests.inspection.strategies import broken_calls
from tests.recording.watched import SITE, answered, broken, caught

CASES = cases()
SCHEMA = schema_for("record")
VALIDATOR = Draft202012Validator(SCHEMA)


def refuse(name):
    raise AssertionError(f"{name} is not JSON")


def parsed(text):
    """A line, read as strictly as JSON is defined."""
    assert text.endswith("\n")
    assert text.count("\n") == 1
    assert text.isascii()
    return json.loads(text, parse_constant=refuse)


class Parts(FileIO):
    """A file of which the system takes 100 bytes at once."""

    def write(self, data):
        return super().write(data[:100])


def parts_of(really_open, path, mode="r", **options):
    return Parts(path, "a") if mode == "ab" else really_open(path, mode, **options)


def told(call):
    """What the line of a call tells; it validates."""
    found = parsed(watch_line(watch(call)))
    VALIDATOR.validate(found)
    return found


def test_the_schema_is_a_schema():
    assert LINES == ("record",)
    Draft202012Validator.check_schema(SCHEMA)


def test_the_command_prints_it(capsys):
    assert main(["schema", "record"]) == 0
    assert json.loads(capsys.readouterr().out) == SCHEMA


@pytest.mark.parametrize("name", CASES)
def test_a_call_of_any_kind_validates(name):
    line = told(answered(CASES[name]))
    assert line["verification"]["holds"]
    assert {metric.name for metric in METRICS} <= set(line["heads"][0])


@settings(deadline=None, max_examples=30)
@given(broken_calls())
def test_no_number_that_json_lacks_is_in_a_line(call):
    line = told(answered(call))
    assert line["findings"]


def test_where_a_call_was_made_is_told():
    site = replace(SITE, step=4)
    line = told(caught(make_call(), number=17, site=site))
    assert (line["number"], line["step"], line["layer"], line["module"]) == (17, 4, 3, "encoder.layer.3.attention")
    assert (line["function"], line["caller"]) == (site.function, site.caller)
    outside = told(caught(make_call(), site=CallSite("train_31", "", 0, "sdpa", "train.py:31 in <module>")))
    assert outside["layer"] is None


@pytest.mark.parametrize("role", ["q", "k", "v"])
def test_a_nan_is_null_and_found(role):
    line = told(broken(torch.nan, role))
    head = line["heads"][1]
    assert head["label"] == "broken"
    assert head["entropy"] is None or role == "v"
    found = line["findings"][0]
    assert (found["code"], found["tensor"], found["prefix"], found["layer"]) == ("ATTN001", role, SITE.module, 3)


def test_a_head_without_a_visible_key_has_no_strongest_pair():
    line = told(caught(make_call(valid_lens=torch.tensor([0, 7]))))
    assert [head["top"] is None for head in line["heads"]] == [True] * 4 + [False] * 4
    assert line["rules"]["valid_lens"] == [2]


def test_heads_that_were_kept_have_their_own_numbers():
    line = told(caught(select(make_call(), Selection(heads=(1, 3)))))
    assert [head["head"] for head in line["heads"]] == [1, 3, 1, 3]
    assert (line["shape"]["heads"], line["shape"]["total_heads"]) == (2, 4)


def test_pictures_are_small_and_hold_the_largest_weights():
    call = make_call(1, 2, queries=40, keys=40, causal=True, sinks=drawn(1, 2))
    pictures = told(caught(call))["pictures"]
    weights = torch.tensor(pictures["weights"])
    assert weights.shape == (1, 2, 14, 14)
    assert (pictures["query_pool"], pictures["key_pool"]) == (3, 3)
    found = watch(caught(call)).inspection
    assert weights.amax().item() == pytest.approx(found.top.weight.amax().item(), abs=1e-5)
    assert torch.tensor(pictures["sink_weights"]).shape == (1, 2, 14)


@pytest.mark.parametrize(
    "change",
    [
        {"schema": "attn.run/1"},
        {"ms": -1},
        {"heads": [{}]},
        {"extra": 1},
        {"rules": {}},
        {"number": None},
        {"findings": [{"code": "X"}]},
    ],
)
def test_what_breaks_the_promise_does_not_validate(change):
    assert not VALIDATOR.is_valid(told(caught(make_call())) | change)


@pytest.mark.parametrize("key", ["number", "module", "shape", "rules", "ms", "heads", "pictures", "verification"])
def test_every_key_is_promised(key):
    line = told(caught(make_call()))
    del line[key]
    assert not VALIDATOR.is_valid(line)


FILES = {
    "grouped and causal": ({"kv_heads": 2, "causal": True}, {"causal": "true"}),
    "mask": ({"keep": coin(1, 2, 1, 5, 7)}, {}),
    "valid lengths": ({"valid_lens": torch.tensor([3, 6])}, {}),
    "bias and sinks": ({"bias": drawn(4, 1, 4, 5, 7), "sinks": drawn(5, 4), "softcap": 2.0}, {"softcap": "2.0"}),
}


@pytest.mark.parametrize("name", FILES)
def test_the_numbers_are_those_of_attn_run_on_the_same_call(name, tmp_path, capsys):
    options, metadata = FILES[name]
    call = make_call(**options)
    mask = call.rules.mask
    tensors = {"q": call.q, "k": call.k, "v": call.v, "mask": mask.keep, "valid_lens": mask.valid_lens}
    tensors |= {"bias": call.rules.bias, "sinks": call.rules.sinks}
    path = str(tmp_path / "call.safetensors")
    save_file({name: x for name, x in tensors.items() if x is not None}, path, metadata)
    assert main(["run", path, "--json", "--top", "1", "--device", "cpu"]) == 0
    expected = json.loads(capsys.readouterr().out)["data"]["heads"]
    found = told(caught(call))["heads"]
    assert len(found) == len(expected) == 8
    for ours, theirs in zip(found, expected, strict=True):
        assert ours["label"] == theirs["label"]
        assert ours["top"]["query"] == theirs["top"][0]["query"]
        assert ours["top"]["key"] == theirs["top"][0]["key"]
        for metric in METRICS:
            number = theirs[metric.name]
            expected_number = None if number is None else pytest.approx(number, rel=1e-12, abs=1e-14)
            assert ours[metric.name] == expected_number, metric.name


class TestFile:
    def test_a_line_is_there_as_soon_as_it_is_written(self, tmp_path: Path):
        path = tmp_path / "stats.jsonl"
        sink = Watcher(WatchLines(path).write)
        for number in range(3):
            assert sink.take(caught(make_call(seed=number), number=number)) is True
            lines = path.read_text().splitlines(keepends=True)
            assert [parsed(line)["number"] for line in lines] == list(range(number + 1))

    def test_lines_of_several_threads_follow_each_other_where_the_system_takes_parts(self, tmp_path, monkeypatch):
        path = tmp_path / "stats.jsonl"
        lines = WatchLines(path)
        calls = [watch(caught(make_call(seed=number), number=number)) for number in range(4)]
        monkeypatch.setattr("builtins.open", partial(parts_of, open))
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(lines.write, calls * 5))
        monkeypatch.undo()
        found = [parsed(line)["number"] for line in path.read_text().splitlines(keepends=True)]
        assert sorted(found) == sorted([*range(4)] * 5)

    def test_what_was_there_before_is_replaced(self, tmp_path: Path):
        path = tmp_path / "stats.jsonl"
        path.write_text("old\n" * 100)
        WatchLines(path).write(watch(caught(make_call())))
        assert parsed(path.read_text())["schema"] == "attn.record/1"

    def test_a_folder_that_is_not_there_is_refused(self, tmp_path: Path):
        with pytest.raises(OSError, match="No such file"):
            WatchLines(tmp_path / "nowhere" / "stats.jsonl")
