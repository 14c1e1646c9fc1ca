"""Captures of some heads alone: everything goes by their numbers in the program."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from attn_cli.attention import textbook
from attn_cli.attention.selection import Selection, select
from attn_cli.checks import CHECKS
from attn_cli.checks.runner import check_call
from attn_cli.differences.runner import DiffOptions, diff
from attn_cli.differences.sides import Side
from attn_cli.explanation import Wanted, explain
from attn_cli.inputs.options import ReadOptions
from attn_cli.main import main
from attn_cli.pipeline import RunOptions, place, run_call
from tests.inputs.captures import MODULE, call, capture, compared
from tests.inputs.files import heads, load, said, write


def kept_capture(path, kept, total=6, kv_heads=None, metadata=None, tensors=None, **sizes):
    """What a recording of some heads writes, and the whole call that it was cut out of."""
    tensors_of_all = heads(heads=total, kv_heads=kv_heads, **sizes)
    whole = load(write(path.with_name("whole.safetensors"), tensors_of_all, {"scale": "0.25"})).inputs
    part = select(whole, Selection(heads=tuple(kept)))
    stored = {f"{MODULE}.{name}": x for name, x in (("q", part.q), ("k", part.k), ("v", part.v))}
    stored[f"{MODULE}.output"] = textbook.attend(part).output
    texts = {"heads": json.dumps(list(kept)), "total_heads": str(total)} | (metadata or {})
    _, own = call(metadata=texts)
    return capture(path, (stored | (tensors or {}), own)), whole


@settings(max_examples=40)
@given(data=st.data(), groups=st.sampled_from([(4, 4), (6, 2), (6, 1), (8, 4)]))
def test_a_head_is_the_one_of_its_number_in_the_program(tmp_path_factory, data, groups):
    total, kv_heads = groups
    kept = sorted(data.draw(st.sets(st.integers(0, total - 1), min_size=1)))
    head = data.draw(st.sampled_from(kept))
    path, whole = kept_capture(tmp_path_factory.mktemp("c") / "c.safetensors", kept, total, kv_heads)
    one = load(path, heads=(head,))
    inputs = place(one, torch.device("cpu"))
    expected = F.scaled_dot_product_attention(
        whole.q, *(x.repeat_interleave(total // kv_heads, 1) for x in (whole.k, whole.v)), scale=0.25
    )[:, [head]]
    assert inputs.index.heads == (head,)
    assert inputs.index.total_heads == total
    torch.testing.assert_close(textbook.attend(inputs).output, expected)
    told = explain(one, Wanted(1, head, 2))
    torch.testing.assert_close(torch.tensor(told.row.output, dtype=torch.float64), expected[1, 0, 2])


def test_the_report_names_kept_heads_by_their_numbers(tmp_path, capsys):
    path, _ = kept_capture(tmp_path / "c.safetensors", (1, 4))
    assert said(load(path), "kept heads") == [("1, 4 of 6 query heads", "metadata")]
    assert main(["run", path, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)["data"]
    assert {head["head"] for head in data["heads"]} == {1, 4}
    assert main(["run", path, "--head", "4", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)["data"]
    assert data["input"]["selection"]["heads"] == [4]
    assert {head["head"] for head in data["heads"]} == {4}


@pytest.mark.parametrize("command", [["run"], ["check"], ["explain", "--query", "0"]])
def test_a_head_that_was_not_kept_is_refused_with_those_that_were(tmp_path, capsys, command):
    path, _ = kept_capture(tmp_path / "c.safetensors", (1, 3, 4))
    assert main([*command, path, "--head", "2"]) == 2
    message = capsys.readouterr().err
    assert "--head 2; expected one of 1, 3-4, which were kept of 6 query heads" in message


def test_explain_tells_the_total_of_the_heads_and_no_number_of_a_key_value_head(tmp_path, capsys):
    path, _ = kept_capture(tmp_path / "c.safetensors", (2, 4, 5), kv_heads=3)
    assert main(["explain", path, "--head", "4", "--query", "0"]) == 0
    printed = capsys.readouterr().out
    assert "head 4 of 6" in printed
    assert "key/value head" not in printed.split("read as")[0]
    assert main(["explain", path, "--head", "4", "--query", "0", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)["data"]
    assert data["kv_head"] is data["input"]["kv_heads"] is None


def test_an_output_projection_is_of_all_heads_and_is_not_applied_to_some(tmp_path):
    weight = torch.randn(10, 48, dtype=torch.float64)
    path, _ = kept_capture(tmp_path / "c.safetensors", (1, 4), tensors={f"{MODULE}.o_proj.weight": weight})
    one = load(path)
    result = run_call(one, RunOptions("cpu", keep_outputs=True), 0.0)
    assert result.outputs.projected is None
    told = explain(load(path, heads=(4,)), Wanted(0, 4, 0))
    own = torch.tensor(told.row.output, dtype=torch.float64) @ weight[:, 32:40].T
    assert told.row.projected_norm == pytest.approx(float(own.norm()))


def test_every_head_kept_is_a_whole_call(tmp_path):
    path, _ = kept_capture(tmp_path / "c.safetensors", range(6))
    one = load(path)
    assert one.inputs.index.has_every_head
    assert said(one, "kept heads") == []


def test_what_was_recorded_of_kept_heads_is_compared_head_by_head(tmp_path):
    path, _ = kept_capture(tmp_path / "c.safetensors", (1, 4), dtype=torch.float32)
    for chosen in (None, (4,)):
        checked = check_call(load(path, heads=chosen), CHECKS, RunOptions("cpu"))
        assert "ATTN006" not in {finding.code for finding in checked.findings}
        read = ReadOptions(file=path, heads=chosen)
        result = diff(DiffOptions(Side(read), Side(read, backend="recorded"), is_one_input=True))
        assert result.within
        assert {one.head for one in result.calls[0].output.heads} == set(chosen or (1, 4))


def test_what_was_recorded_otherwise_is_told_of_the_head_with_its_number(tmp_path):
    _, whole = kept_capture(tmp_path / "c.safetensors", (1, 4))
    output = textbook.attend(select(whole, Selection(heads=(1, 4)))).output
    output[1, 1, 2, 3] += 1
    path, _ = kept_capture(tmp_path / "d.safetensors", (1, 4), tensors={f"{MODULE}.output": output})
    checked = check_call(load(path, heads=(4,)), CHECKS, RunOptions("cpu"))
    (found,) = (one for one in checked.findings if one.code == "ATTN006")
    assert (found.place.batch, found.place.head, found.place.query) == (1, 4, 2)
    result = compared(kept_capture(tmp_path / "e.safetensors", (1, 4))[0], path)
    (other,) = (one for one in result.tensors if one.left.name.endswith(".output"))
    assert dict(other.worst_place) == {"batch": 1, "head": 4, "query": 2, "feature": 3}
    assert other.worst_index == (1, 1, 2, 3)


def test_a_mask_of_kept_heads_is_told_by_their_numbers(tmp_path):
    """A cell above the diagonal in the second kept head alone is a leak of the head with that number."""
    keep = torch.ones(1, 2, 12, 12, dtype=torch.bool).tril()
    keep[0, 1, 3, 7] = True
    path, _ = kept_capture(tmp_path / "c.safetensors", (1, 4), queries=12, keys=12, tensors={f"{MODULE}.mask": keep})
    for chosen in (None, (4,)):
        checked = check_call(load(path, heads=chosen), CHECKS, RunOptions("cpu"))
        found = [one.place for one in checked.findings if "sees key 7" in one.message]
        assert [(place.head, place.query, place.key) for place in found] == [(4, 3, 7)]
    checked = check_call(load(path, heads=(1,)), CHECKS, RunOptions("cpu"))
    assert not [one for one in checked.findings if "sees key 7" in one.message]


def test_diff_does_not_compare_other_heads_with_each_other(tmp_path):
    (tmp_path / "b").mkdir()
    left, _ = kept_capture(tmp_path / "a.safetensors", (1, 4))
    right, _ = kept_capture(tmp_path / "b" / "b.safetensors", (1, 2))
    result = compared(left, right)
    assert "the left call holds the heads 1, 4, the right 1-2" in str(result.calls[0].reason)
    assert not result.within
    same, _ = kept_capture(tmp_path / "b" / "c.safetensors", (1, 4))
    assert compared(left, same, heads=(4,)).within


@pytest.mark.parametrize(
    ("heads_text", "total", "why"),
    [
        ("[1, 4", "6", "is no list of head numbers below total_heads"),
        ("[1, 1]", "6", "is no list"),
        ("[1, 6]", "6", "is no list"),
        ("[1, true]", "6", "is no list"),
        ("[-1, 4]", "6", "is no list"),
        ("[1, 4]", "six", "is no list"),
        ("[1, 4]", "9" * 40, "is no list"),
        ("[]", "6", "is no list"),
        ("[" * 100_000, "6", "is no list"),
        ("[1, 2, 4]", "6", "has 3 numbers for 2 query heads"),
    ],
)
def test_broken_head_numbers_are_not_used_and_it_is_said(tmp_path, heads_text, total, why):
    path, _ = kept_capture(tmp_path / "c.safetensors", (1, 4), metadata={"heads": heads_text, "total_heads": total})
    one = load(path)
    assert one.inputs.index.heads == (0, 1)
    assert why in said(one, "kept heads")[0][0]
