"""``attn check`` from end to end: what it finds, what it says, and its exit codes."""

import json

import jsonschema
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from attn_cli.checks import CHECKS
from attn_cli.commands.check import CODES
from attn_cli.main import main
from attn_cli.reporters.schema import schema_for
from tests.cli.process import MINILM, SAMPLES, attn


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def qkv(prefix="", seed=0):
    return {f"{prefix}{name}": normal(2, 4, 20, 8, seed=seed + i) for i, name in enumerate("qkv")}


@pytest.fixture
def healthy(tmp_path):
    path = tmp_path / "healthy.safetensors"
    save_file(qkv(), path)
    return str(path)


@pytest.fixture
def nan(tmp_path):
    """A NaN in V, seen by every query of one head."""
    path, tensors = tmp_path / "nan.safetensors", qkv()
    tensors["v"][1, 2, 7, 5] = torch.nan
    save_file(tensors, path)
    return str(path)


@pytest.fixture
def empty(tmp_path):
    """Three layers; in the last a batch item without a valid key, which is a warning."""
    path = tmp_path / "empty.safetensors"
    tensors = {name: x for layer in range(3) for name, x in qkv(f"layers.{layer}.", seed=layer).items()}
    save_file(tensors | {"layers.2.valid_lens": torch.tensor([20, 0])}, path)
    return str(path)


def checked(capsys, *arguments):
    """Exit code, stdout and stderr of ``attn check ARGUMENTS``."""
    code = main(["check", *arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def document(capsys, *arguments):
    code, out, _ = checked(capsys, *arguments, "--json")
    read = json.loads(out, parse_constant=pytest.fail)
    assert read["exit_code"] == code
    return read


def codes(document):
    return {finding["code"] for finding in document["findings"]}


def test_the_codes_known_without_torch_are_those_of_the_rules():
    assert tuple(check.rule.code for check in CHECKS) == CODES


def test_a_clean_capture_is_clean(capsys):
    code, out, err = checked(capsys, MINILM)
    assert (code, err) == (0, "")
    assert out.startswith("✓ 6 calls in 1 file: no findings\n")


def test_an_error_fails_and_is_named_with_its_place(nan, capsys):
    code, out, _ = checked(capsys, nan)
    assert code == 1
    assert "ATTN001  tensor v, batch 1, head 2, key 7" in out
    found = document(capsys, nan)
    first = next(finding for finding in found["findings"] if finding["code"] == "ATTN001")
    assert (first["file"], first["tensor"], first["batch"], first["head"], first["key"]) == (nan, "v", 1, 2, 7)
    assert (found["status"], found["exit_code"]) == ("findings", 1)


def test_a_warning_fails_only_where_it_is_strict(empty, capsys):
    warned = ("--select", "ATTN003")
    assert checked(capsys, empty, *warned)[0] == 0
    assert document(capsys, empty, *warned)["status"] == "findings"
    code, out, _ = checked(capsys, empty, "--strict", *warned)
    assert code == 1
    assert "strict: a warning fails the check" in " ".join(out.split())
    assert document(capsys, empty, "--strict", *warned)["exit_code"] == 1


def test_every_call_of_every_file_is_checked_once(nan, empty, healthy, capsys):
    found = document(capsys, healthy, nan, empty, nan)
    assert found["data"]["files"] == [healthy, nan, empty]
    assert [(call["file"], call["layer"]) for call in found["data"]["calls"]] == [
        (healthy, None),
        (nan, None),
        *((empty, layer) for layer in range(3)),
    ]
    assert {finding["file"] for finding in found["findings"] if finding["code"] == "ATTN001"} == {nan}
    rows = [finding for finding in found["findings"] if finding["code"] == "ATTN003"]
    assert [(finding["file"], finding["layer"], finding["batch"]) for finding in rows] == [(empty, 2, 1)]
    assert "5 calls in 3 files: " in checked(capsys, healthy, nan, empty, nan)[1]


def test_the_options_for_reading_apply_to_every_file(empty, capsys):
    assert document(capsys, empty, "--layer", "1")["findings"] == []
    assert document(capsys, empty, "--layer", "2", "--batch", "0", "--select", "ATTN003")["findings"] == []
    found = document(capsys, empty, "--causal", "--scale", "0.5", "--dtype", "float64", "--backend", "textbook")
    call = found["data"]["calls"][0]
    assert (call["dtype"], call["backend"]["requested"], call["backend"]["ran"]) == ("float64", "textbook", "textbook")
    assert {"name": "scale", "value": "0.5", "origin": "--scale"} in call["conventions"]


def test_rules_are_selected_and_ignored_by_codes_and_beginnings(nan, capsys):
    assert codes(document(capsys, nan)) >= {"ATTN001", "ATTN002"}
    only = document(capsys, nan, "--select", "attn001")
    assert codes(only) == {"ATTN001"}
    assert [rule["code"] for rule in only["data"]["rules"]] == ["ATTN001"]
    assert codes(document(capsys, nan, "--select", "ATTN00", "--ignore", "ATTN001, ATTN003")) >= {"ATTN002"}
    assert "ATTN001" not in codes(document(capsys, nan, "--ignore", "ATTN001"))
    assert document(capsys, nan, "--ignore", "ATTN00", "--select", "ATTN00,ATTN01")["findings"] == []


def test_a_file_on_stdin_gives_what_the_file_gives(nan):
    with open(nan, "rb") as file:
        piped = attn("check", "-", "--json", stdin=file.read())
    named = attn("check", nan, "--json")
    assert piped.returncode == named.returncode == 1
    assert piped.stdout.replace(b'"-"', json.dumps(nan).encode()) == named.stdout


def test_without_a_file_three_npy_files_are_read(tmp_path, capsys):
    options = []
    for name, tensor in qkv().items():
        np.save(tmp_path / f"{name}.npy", tensor.numpy())
        options += [f"--{name}", str(tmp_path / f"{name}.npy")]
    assert checked(capsys, *options)[0] == 0


@pytest.mark.parametrize("code", [check.rule.code for check in CHECKS])
def test_every_rule_explains_itself(code, capsys):
    exit_code, out, err = checked(capsys, "--rule", code.lower())
    rule = next(check.rule for check in CHECKS if check.rule.code == code)
    assert (exit_code, err) == (0, "")
    said = " ".join(out.split())
    for text in (code, rule.name, rule.severity, rule.sentence, rule.why, rule.example, rule.source):
        assert " ".join(text.split()) in said


def test_all_rules_are_listed_and_told_as_json(capsys):
    code, out, _ = checked(capsys, "--rule", "all")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines() if line.startswith("ATTN")] == list(CODES)
    rules = document(capsys, "--rule", "all")["data"]["rules"]
    assert [rule["code"] for rule in rules] == list(CODES)
    assert all(rule["why"] and rule["example"] for rule in rules)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["no FILE", "--q", "--rule all"]),
        (["--rule", "ATTN999"], ["ATTN999", "ATTN001, ATTN002", "--rule all"]),
        (["--rule", "ATTN003", MINILM], ["--rule", "no FILE", "--select ATTN003"]),
        ([MINILM, "--select", "ATTN9"], ["--select", "ATTN9", "ATTN020"]),
        ([MINILM, "--ignore", "ATTN001,"], ["--ignore", "''"]),
        ([MINILM, "--ignore", "ATTN"], ["--ignore ATTN", "no rule is left"]),
        ([MINILM, "--select", "ATTN003", "--ignore", "ATTN003"], ["--select ATTN003 --ignore ATTN003", "no rule"]),
        ([MINILM, "missing.safetensors"], ["missing.safetensors", "no such file"]),
        ([MINILM, "--layer", "9"], ["minilm.safetensors", "9"]),
        ([str(SAMPLES / "README.md")], ["README.md"]),
    ],
)
def test_a_wrong_line_is_answered_in_one(arguments, words, capsys):
    code, out, err = checked(capsys, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("attn: error: ")
    assert all(word in err for word in words), err


def test_what_was_found_before_a_bad_file_is_shown(nan, capsys):
    code, out, err = checked(capsys, nan, str(SAMPLES / "README.md"))
    assert code == 2
    assert "ATTN001" in out
    assert "README.md" in err
    failed = document(capsys, nan, str(SAMPLES / "README.md"))
    assert (failed["status"], failed["data"]) == ("error", None)


def test_a_bad_file_loses_nothing_of_the_others(nan, healthy, tmp_path, capsys):
    broken = [tmp_path / f"broken{number}.safetensors" for number in range(2)]
    for path in broken:
        path.write_bytes(b"no tensors")
    files = (str(broken[0]), nan, str(broken[1]), healthy)
    code, out, err = checked(capsys, *files)
    assert code == 2
    assert "ATTN001" in out
    assert "2 calls in 2 files: " in out
    assert [line.split(": ")[2] for line in err.splitlines() if line.startswith("attn: error: ")] == list(
        map(str, broken)
    )
    failed = document(capsys, *files)
    assert (failed["status"], failed["exit_code"], failed["data"]) == ("error", 2, None)
    assert failed["error"]["message"].startswith(str(broken[0]))
    assert {finding["file"] for finding in failed["findings"]} == {nan}
    assert "ATTN001" in codes(failed)
    jsonschema.validate(failed, schema_for("check"))
    fine = document(capsys, str(broken[0]), healthy)
    assert (fine["status"], fine["findings"]) == ("error", [])
    jsonschema.validate(fine, schema_for("check"))


def test_what_was_left_alone_is_told(tmp_path, capsys):
    path = str(tmp_path / "more.safetensors")
    more = {"output": normal(2, 4, 19, 8), "src_mask": torch.ones(2, 7), "rope": normal(20), "attn_out": normal(2, 3)}
    save_file(qkv() | more, path)
    code, out, _ = checked(capsys, path)
    told = " ".join(out.split())
    assert code == 0
    assert "not used: output, attn_out, rope and 1 tensor more" in told
    assert "info src_mask (2, 7) float32: looks like a mask, and was not checked" in told
    assert "info output (2, 4, 19, 8) float32, attn_out (2, 3) float32: look like a result, and was not" in told
    (call,) = document(capsys, path)["data"]["calls"]
    assert {one["name"]: one["looks_like"] for one in call["unused"]} == {
        "output": "result",
        "attn_out": "result",
        "rope": None,
        "src_mask": "mask",
    }
    jsonschema.validate(document(capsys, path), schema_for("check"))


def test_a_result_of_another_kind_of_numbers_is_left_alone_for_its_dtype(tmp_path, capsys):
    path = str(tmp_path / "whole.safetensors")
    tensors = qkv()
    save_file(tensors | {"output": torch.ones(tensors["q"].shape, dtype=torch.int32)}, path)
    told = " ".join(checked(capsys, path)[1].split())
    assert "int32: looks like a result, and was not checked: its name, shape or dtype does not fit a call" in told


def test_an_output_as_hugging_face_returns_it_is_checked(tmp_path, capsys):
    tensors = qkv()
    output = F.scaled_dot_product_attention(*tensors.values()).transpose(1, 2).contiguous()
    path = str(tmp_path / "recorded.safetensors")
    for made in (output, output.flatten(2)):
        save_file(tensors | {"output": made}, path)
        assert document(capsys, path)["findings"] == []
        for wrong in (5 * made, made * torch.nan):
            save_file(tensors | {"output": wrong}, path)
            found = document(capsys, path)
            assert (codes(found), found["exit_code"]) == ({"ATTN006"}, 1)


def test_a_device_that_is_missing_is_a_resource(healthy, capsys):
    code, _, err = checked(capsys, healthy, "--device", "cuda:99")
    assert code == 3
    assert "cuda:99" in err
