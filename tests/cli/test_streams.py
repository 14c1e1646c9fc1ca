"""Streams and exit codes, seen from outside the process."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file

from tests.cli.process import MINILM, ROOT, attn, environment
from tests.hostile.surroundings import held, sending
from tests.hostile.warm import PROGRAM, server, warm


def shell(command, *, is_warm=False):
    """Run a shell line with ``attn`` in it; returns its exit code under pipefail, stdout and stderr.

    Args:
        command: the line.
        is_warm: ``attn`` has PyTorch imported already; else it is started as a user starts it.
    """
    attn = f"{sys.executable} -S {PROGRAM} {server().address}" if is_warm else f"{sys.executable} -m attn_cli"
    line = command.replace("attn ", f"{attn} ")
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", line], capture_output=True, text=True, env=environment(), cwd=ROOT, timeout=120
    )
    return done.returncode, done.stdout, done.stderr


def test_json_is_one_document_and_nothing_else():
    done = attn("run", MINILM, "--layer", "3", "--json")
    assert done.returncode == 0
    assert done.stderr == b""
    document = json.loads(done.stdout, parse_constant=pytest.fail)
    assert document["schema"] == "attn.run/1"
    assert (document["status"], document["exit_code"], document["error"]) == ("ok", 0, None)
    assert len(document["data"]["heads"]) == 24
    assert b"\x1b" not in done.stdout


def test_json_goes_through_python_json_tool_and_jq_like_pipes():
    code, out, err = shell(f"attn run {MINILM} --layer 3 --json | {sys.executable} -m json.tool", is_warm=True)
    assert (code, err) == (0, "")
    assert '"schema": "attn.run/1"' in out


@pytest.mark.parametrize(("options", "is_warm"), [("--json", False), ("", True), ("--layer 3 --json --weights", True)])
def test_a_closed_pipe_ends_quietly(options, is_warm):
    code, out, err = shell(f"attn run {MINILM} {options} | head -c 100", is_warm=is_warm)
    assert (code, err) == (0, "")
    assert len(out) >= 90


def test_a_file_on_stdin_gives_what_the_file_gives():
    with open(MINILM, "rb") as file:
        content = file.read()
    piped = json.loads(attn("run", "-", "--layer", "2", "--json", stdin=content).stdout)
    named = json.loads(attn("run", MINILM, "--layer", "2", "--json").stdout)
    assert piped["data"]["heads"] == named["data"]["heads"]
    assert piped["data"]["input"]["file"] == "-"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["run", "missing.safetensors"], 2, ["missing.safetensors", "no such file"]),
        (["run", "tests"], 2, ["tests", "folder"]),
        (["run"], 2, ["FILE"]),
        (["run", MINILM, "--layer", "9"], 2, ["minilm.safetensors", "9"]),
        (["run", MINILM, "--layer", "3", "--head", "12"], 2, ["--head", "12", "0 to 11"]),
        (["run", MINILM, "--head", "1-x"], 2, ["--head", "1-x", "0,3-5"]),
        (["run", MINILM, "--valid-lens", "3,many"], 2, ["--valid-lens", "many"]),
        (["run", MINILM, "--valid-lens", "3"], 2, ["valid"]),
        (["run", MINILM, "--scale", "nan"], 2, ["--scale", "nan", "finite"]),
        (["run", MINILM, "--window", "-5"], 2, ["--window", "-5"]),
        (["run", MINILM, "--zoom", "0:5"], 2, ["--zoom", "0:5", "Q0:Q1,K0:K1"]),
        (["run", MINILM, "--zoom", "0:5,9:9"], 2, ["--zoom", "9:9", "empty"]),
        (["run", MINILM, "--zoom", "0:5,9:19"], 2, ["--zoom", "layers.0", "keys 9:19", "0:18"]),
        (["run", MINILM, "--zoom", "18:,:"], 2, ["--zoom", "query rows 18:", "0:18"]),
        (["run", MINILM, "--query", "1,9", "--zoom", "2:9,:"], 2, ["--zoom", "none of the selected query rows"]),
        (["demo", "--zoom", "0:4,0:7"], 2, ["--zoom", "keys 0:7", "0:6"]),
        (["run", MINILM, "--causal-align", "middle"], 2, ["--causal-align", "middle", "bottom-right"]),
        (["run", MINILM, "--backend", "efficient", "--layer", "3", "--device", "cpu"], 2, ["efficient", "No viable"]),
        (["run", MINILM, "--layer", "3", "--mask-value", "-1e6", "--dtype", "float16"], 2, ["-1e+06", "float16"]),
        (["run", MINILM, "--device", "tpu"], 2, ["tpu", "expected"]),
        (["run", MINILM, "--no-such-option"], 2, ["--no-such-option"]),
        (["demo", "--heads", "3"], 2, ["100", "3 heads"]),
        (["demo", "--valid-lens", "7,2"], 2, ["7", "0 to 6"]),
        (["fly"], 2, ["fly"]),
    ],
)
def test_an_error_is_one_line_and_its_exit_code(arguments, code, words):
    done = attn(*arguments)
    lines = done.stderr.decode().splitlines()
    assert done.returncode == code, done.stderr
    assert done.stdout == b""
    assert lines[0].startswith("attn: error: ")
    assert all(line.startswith("hint: ") for line in lines[1:])
    assert len(lines) <= 2
    assert "Traceback" not in done.stderr.decode()
    for word in words:
        assert word in lines[0], lines


def test_failures_speak_json_too():
    done = attn("run", "missing.safetensors", "--json")
    document = json.loads(done.stdout)
    assert done.returncode == document["exit_code"] == 2
    assert (document["schema"], document["status"], document["data"]) == ("attn.run/1", "error", None)
    assert "missing.safetensors" in document["error"]["message"]
    assert done.stderr.decode().startswith("attn: error: ")


def test_a_usage_error_speaks_json_too():
    document = json.loads(attn("demo", "--json", "--heads", "many").stdout)
    assert (document["schema"], document["status"]) == ("attn.demo/1", "error")
    assert "--heads" in document["error"]["message"]


@pytest.mark.skipif("__import__('torch').cuda.is_available()", reason="this machine has CUDA")
def test_a_missing_device_is_exit_code_3():
    done = attn("demo", "--device", "cuda")
    assert done.returncode == 3
    assert "cuda" in done.stderr.decode()


def test_a_traceback_only_where_it_is_asked_for():
    plain = attn("run", "missing.safetensors", "--traceback").stderr.decode()
    assert "Traceback" in plain
    assert "Traceback" in attn("run", "missing.safetensors", ATTN_TRACEBACK="1").stderr.decode()


def test_interrupt_is_exit_code_130(tmp_path):
    """A run long enough to be interrupted, stopped by the signal a terminal sends."""
    arguments = ["demo", "--queries", "20000", "--keys", "20000", "--heads", "10", "--repeat", "1"]
    mark = tmp_path / "mark"
    computing = held("pipeline.py:examine", mark, seconds=0)
    ended = warm(*arguments, seconds=60, before=computing, meanwhile=sending(mark, signal.SIGINT))
    assert (ended.returncode, ended.stdout, ended.err) == (130, b"", "attn: interrupted\n")


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["demo", "--help"], ["--version"], []])
def test_help_and_version_succeed(arguments):
    done = attn(*arguments)
    assert done.returncode == 0
    assert done.stdout
    assert done.stderr == b""


def test_findings_do_not_change_the_exit_code_of_run(tmp_path):
    q = torch.randn(1, 2, 20, 8)
    q[0, 1, 17, 3] = torch.nan
    path = tmp_path / "nan.safetensors"
    save_file({"q": q, "k": torch.randn(1, 2, 20, 8), "v": torch.randn(1, 2, 20, 8)}, path)
    done = attn("run", str(path), "--json")
    document = json.loads(done.stdout)
    assert (done.returncode, document["status"], document["exit_code"]) == (0, "findings", 0)
    first = document["findings"][0]
    assert (first["code"], first["severity"]) == ("ATTN001", "error")
    assert (first["batch"], first["head"], first["query"]) == (0, 1, 17)
    broken = document["data"]["heads"][1]
    assert (broken["label"], broken["entropy"], broken["nonfinite"]) == ("broken", None, 1)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
@pytest.mark.parametrize("arguments", [["run", "--help"], ["demo", "--help"], ["demo"], ["demo", "--steps"]])
def test_a_stdout_without_utf8_is_no_fault(arguments, encoding):
    done = attn(*arguments, PYTHONIOENCODING=encoding, PYTHONUTF8="0")
    assert (done.returncode, done.stderr) == (0, b"")
    done.stdout.decode(encoding)


def test_an_unknown_command_speaks_json_as_well():
    document = json.loads(attn("fly", "--json").stdout)
    assert (document["schema"], document["status"]) == ("attn.error/1", "error")


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", MINILM, "--window", "9" * 20],
        ["run", MINILM, "--head", "9" * 5000],
        ["run", MINILM, "--valid-lens", "9" * 5000],
        ["run", MINILM, "--causal-align", "9" * 5000],
    ],
    ids=["window", "head", "valid-lens", "causal-align"],
)
def test_numbers_that_no_tensor_has_are_refused(arguments):
    done = attn(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(b"attn: error: --")


@pytest.mark.parametrize(
    ("path", "code"), [("no/such/folder/x.safetensors", 3), ("x.npz", 2), ("tests", 3)], ids=["folder", "suffix", "dir"]
)
def test_a_place_that_cannot_be_saved_to(path, code):
    done = attn("demo", "--save", path)
    assert done.returncode == code
    assert path.encode() in done.stderr


def test_weights_that_cannot_fit_are_refused_before_they_are_computed():
    done = attn("demo", "--queries", "400000", "--keys", "400000", "--num-hiddens", "5", "--weights", "--json")
    assert done.returncode == 3
    assert b"GiB" in done.stderr


def test_saving_onto_the_input_is_refused(tmp_path):
    path = tmp_path / "capture.safetensors"
    shutil.copy(MINILM, path)
    before = path.read_bytes()
    (tmp_path / "link.safetensors").symlink_to(path)
    for name in ("capture.safetensors", "link.safetensors"):
        done = attn("run", str(path), "--layer", "3", "--save", str(tmp_path / name))
        assert done.returncode == 2
        assert b"would replace the input" in done.stderr
    assert path.read_bytes() == before


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
@pytest.mark.parametrize(("options", "is_warm"), [("", False), ("--json", True)])
def test_a_full_disk_behind_stdout_is_a_failed_resource(options, is_warm):
    code, _, err = shell(f"attn demo {options} > /dev/full", is_warm=is_warm)
    assert code == 3
    assert "No space left" in err
    assert "fault of attn" not in err


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_full_disk_behind_stderr_changes_no_exit_code():
    """Python itself, which flushes at its end, would make 120 of it."""
    code, out, _ = shell("attn run missing.safetensors --json 2> /dev/full")
    assert (code, json.loads(out)["exit_code"]) == (2, 2)


def test_python_without_a_buffer_writes_all_or_says_that_it_cannot(tmp_path):
    code, _, err = shell(f"(ulimit -f 4; PYTHONUNBUFFERED=1 attn demo --json > {tmp_path}/out)")
    assert (code, err.count("\n")) == (3, 1)
    assert err.startswith("attn: error: standard output: cannot be written")


@pytest.mark.parametrize("command", ["schema run", "demo --json", "demo", "--version"])
def test_what_is_written_to_a_closed_stdout_goes_nowhere(command):
    code, _, err = shell(f"attn {command} >&-")
    assert (code, err) == (0, "")


def test_a_closed_stdout_is_no_traceback():
    code, _, err = shell("attn run missing.safetensors --json >&-")
    assert code == 2
    assert "Traceback" not in err


def test_what_the_overview_recommends_works(tmp_path):
    names = [f"{part}.layers.{layer}.attn." for part in ("enc", "dec") for layer in (0, 1)]
    save_file(
        {f"{name}{role}": torch.randn(1, 2, 5, 8) for name in names for role in "qkv"}, tmp_path / "x.safetensors"
    )
    shown = attn("run", str(tmp_path / "x.safetensors")).stdout.decode()
    assert all(name.rstrip(".") in shown for name in names)
    option, value = re.search(r"^(--\w+) (\S+) shows every head", shown, re.MULTILINE).groups()
    opened = attn("run", str(tmp_path / "x.safetensors"), option, value)
    assert opened.returncode == 0
    assert b"Metrics" in opened.stdout


def test_one_empty_batch_item_does_not_blank_the_means(tmp_path):
    tensors = {name: torch.randn(8, 6, 9, 8) for name in "qkv"}
    save_file({**tensors, "valid_lens": torch.tensor([9, 3, 5, 0, 1, 2, 9, 9])}, tmp_path / "x.safetensors")
    shown = attn("run", str(tmp_path / "x.safetensors"), COLUMNS="200").stdout.decode()
    row = next(line for line in shown[shown.index("Metrics") :].splitlines() if re.match(r"\s+0\s", line))
    assert "–" not in row
