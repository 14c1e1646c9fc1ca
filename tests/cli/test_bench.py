"""``attn bench`` and ``attn devices`` from outside the process, on tiny cases."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
import threading

import jsonschema
import pytest

from attn_cli.commands.bench import BACKENDS
from attn_cli.reporters.schema import schema_for
from tests.cli import process
from tests.cli.process import ROOT, environment

TINY = ["bench", "--device", "cpu", "--heads", "2", "--head-dim", "16", "--min-time", "0.05"]
QUICK = [*TINY, "--backend", "sdpa,textbook,cudnn"]
SMALL_PEAKS = "from attn_cli.benchmark import peaks; peaks.LARGEST_SIDE['cpu'], peaks.COPY_BYTES['cpu'] = 256, 2**20"
BRIEF_RUNS = """
from attn_cli.benchmark.clock import WallClock
measure = WallClock.measure
WallClock.measure = lambda clock, run: min(measure(clock, run), 10.0)
"""


def attn(*arguments):
    """With one thread: several wait for each other where the machine has other work to do.

    The device's peaks, most of the time of cases as tiny as these, are those of small products and copies. A run in
    which the machine does something else for a second would use up the time that its backend has for five.
    """
    return process.attn(*arguments, before=f"{SMALL_PEAKS}\n{BRIEF_RUNS}", OMP_NUM_THREADS="1")


def document(*arguments):
    done = attn(*arguments, "--json")
    told = json.loads(done.stdout, parse_constant=pytest.fail)
    jsonschema.validate(told, schema_for(arguments[0]))
    assert told["exit_code"] == done.returncode
    return told


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A baseline that ``--save`` wrote, and what its table said."""
    path = tmp_path_factory.mktemp("bench") / "old.json"
    done = attn(*QUICK, "--seq", "32,64", "--save", str(path))
    assert done.returncode == 0, done.stderr
    return path, done.stdout.decode()


def faster(path, factor, **environment_now):
    """The baseline as if it had been measured on a machine ``factor`` times as quick."""
    told = json.loads(path.read_text())
    told["data"]["environment"] |= environment_now
    for result in told["data"]["results"]:
        if result["ms"] is not None:
            result["ms"]["samples"] = [sample / factor for sample in result["ms"]["samples"]]
    copy = path.with_name(f"other-{factor}-{len(environment_now)}.json")
    copy.write_text(json.dumps(told))
    return str(copy)


def test_the_table_has_every_backend_and_the_saved_file_is_the_document(saved):
    path, text = saved
    told = json.loads(path.read_text())
    jsonschema.validate(told, schema_for("bench"))
    assert [(one["backend"], one["keys"], one["status"]) for one in told["data"]["results"]] == [
        (backend, keys, "refused" if backend == "cudnn" else "ok")
        for keys in (32, 64)
        for backend in ("sdpa", "textbook", "cudnn")
    ]
    assert "cudnn  refused: " in text
    assert "heads 2, 64 × 64, D 16, float32, forward" in text
    assert "Growth" in text
    assert max(len(line) for line in text.splitlines()) <= 80


def test_a_product_of_lists_in_json():
    told = document(*TINY, "--backend", "sdpa", "--seq", "16", "--queries", "1,8", "--kv-heads", "1", "--causal",
                    "--dtype", "float32,bfloat16", "--mode", "backward")  # fmt: skip
    results = told["data"]["results"]
    assert [(one["dtype"], one["queries"], one["keys"]) for one in results] == [
        ("float32", 1, 16), ("float32", 8, 16), ("bfloat16", 1, 16), ("bfloat16", 8, 16),
    ]  # fmt: skip
    assert {(one["kv_heads"], one["causal"], one["mode"]) for one in results} == {(1, True, "backward")}
    assert all(one["ms"]["samples"] and "2.5 times" in one["flops_formula"] for one in results)
    assert told["data"]["comparison"] is None


def test_csv_holds_a_line_a_result():
    rows = list(csv.DictReader(io.StringIO(attn(*QUICK, "--seq", "32", "--csv").stdout.decode())))
    assert [row["backend"] for row in rows] == ["sdpa", "textbook", "cudnn"]
    assert float(rows[0]["median_ms"]) > 0
    assert rows[2]["median_ms"] == ""
    assert "CUDA" in rows[2]["reason"]


def test_markdown_holds_the_tables():
    text = attn(*QUICK, "--seq", "32", "--markdown").stdout.decode()
    assert "## Results" in text
    assert "| sdpa | ok |" in text
    assert "- cudnn refused: " in text


def test_a_regression_fails_only_where_that_is_asked_for(saved):
    path, _ = saved
    quick = faster(path, 1e6)
    free = document(*QUICK, "--seq", "32,64", "--baseline", quick)
    assert free["exit_code"] == 0
    assert {entry["verdict"] for entry in free["data"]["comparison"]["entries"]} == {"SLOWER"}
    strict = attn(*QUICK, "--seq", "32", "--baseline", quick, "--fail-on-regression", "5%")
    assert strict.returncode == 1
    assert "SLOWER" in strict.stdout.decode()
    assert strict.stderr == b""


def test_a_faster_run_is_no_regression(saved):
    path, _ = saved
    slow = faster(path, 1e-6)
    told = document(*QUICK, "--seq", "32", "--baseline", slow, "--fail-on-regression", "0.05")
    assert told["exit_code"] == 0
    assert {entry["verdict"] for entry in told["data"]["comparison"]["entries"]} == {"FASTER"}
    assert told["data"]["comparison"]["missing"] == 2


def test_a_baseline_of_other_settings_is_refused_before_anything_is_measured(saved):
    path, _ = saved
    done = attn(*QUICK, "--seq", "32", "--baseline", faster(path, 1, threads=77))
    assert done.returncode == 2
    assert b"threads was 77" in done.stderr
    other = attn(*QUICK, "--seq", "16", "--baseline", str(path))
    assert other.returncode == 2
    assert b"no result in common" in other.stderr
    assert done.stdout == other.stdout == b""


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--seq", "512,x"], 2, ["--seq 512,x", "'x'", "such as 512,1024"]),
        (["--batch", "0"], 2, ["--batch", "'0'", "from 1"]),
        (["--backend", "spda"], 2, ["'spda'", "expected a list of textbook, sdpa"]),
        (["--dtype", "int8"], 2, ["'int8'", "bfloat16"]),
        (["--kv-heads", "3"], 2, ["--kv-heads 3", "--heads 2"]),
        (["--min-time", "0"], 2, ["--min-time", "above 0"]),
        (["--min-time", "nan"], 2, ["--min-time", "above 0"]),
        (["--json", "--csv"], 2, ["--json and --csv", "one of them"]),
        (["--fail-on-regression", "5%"], 2, ["--fail-on-regression", "--baseline"]),
        (["--baseline", "README.md", "--fail-on-regression", "5"], 2, ["--fail-on-regression 5", "5%"]),
        (["--baseline", "missing.json"], 2, ["missing.json", "no such file"]),
        (["--baseline", "README.md"], 2, ["README.md", "JSON"]),
        (["--baseline", "LICENSE", "--save", "./LICENSE"], 2, ["--save", "replace the input LICENSE"]),
        (["--baseline", "README.md", "--save", "./README.md"], 2, ["--save", "it is written as JSON"]),
        (["--save", "nowhere/out.json"], 3, ["nowhere/out.json", "no such folder"]),
    ],
)
def test_an_error_is_one_line_and_its_exit_code(arguments, code, words):
    done = attn(*TINY, *arguments)
    lines = done.stderr.decode().splitlines()
    assert done.returncode == code, done.stderr
    assert lines[0].startswith("attn: error: ")
    assert len(lines) <= 2
    for word in words:
        assert word in lines[0], lines


def test_failures_speak_json_too():
    told = document("bench", "--seq", "x")
    assert (told["status"], told["data"], told["error"]["code"]) == ("error", None, "usage")


@pytest.mark.skipif("__import__('torch').cuda.is_available()", reason="this machine has CUDA")
def test_a_missing_gpu_is_one_line_and_exit_code_3():
    done = attn("bench", "--device", "cuda")
    assert done.returncode == 3
    assert done.stdout == b""
    assert done.stderr.decode().splitlines()[0].startswith("attn: error: --device cuda: ")


def _wait_for(terminal, word):
    """Read what a program prints there until ``word`` is in it, or until it ends."""
    text = ""
    while word is None or word not in text:
        try:
            read = os.read(terminal, 4096)
        except OSError:  # as Linux says that the other end is closed
            read = b""
        if not read:
            break
        text += read.decode(errors="replace")
    assert word is None or word in text, text


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals on Windows")
def test_ctrl_c_reports_what_was_measured():
    """The second length is sampled for an hour, and stopped by the signal a terminal sends once its progress shows."""
    import pty

    arguments = [*TINY[:-1], "3600", "--backend", "textbook", "--seq", "64,65", "--json"]
    terminal, stderr = pty.openpty()
    running = subprocess.Popen(
        [sys.executable, "-m", "attn_cli", *arguments],
        stdout=subprocess.PIPE,
        stderr=stderr,
        cwd=ROOT,
        env={**environment(OMP_NUM_THREADS="1", TERM="xterm", COLUMNS="200"), "PYTHONPATH": str(ROOT)},
    )
    os.close(stderr)
    _wait_for(terminal, "timing")
    running.send_signal(signal.SIGINT)
    drain = threading.Thread(target=_wait_for, args=(terminal, None))
    drain.start()
    out, _ = running.communicate(timeout=60)
    drain.join(timeout=60)
    told = json.loads(out)
    jsonschema.validate(told, schema_for("bench"))
    assert running.returncode == told["exit_code"] == 130
    assert told["data"]["interrupted"]
    assert any(result["ms"] for result in told["data"]["results"])
    assert told["data"]["results"][0]["status"] == "interrupted"


def test_devices_lists_the_cpu_and_its_backends():
    told = document("devices")
    cpu = next(device for device in told["data"]["devices"] if device["name"] == "cpu")
    assert cpu["usable"]
    assert {one["name"] for one in cpu["backends"]} == set(BACKENDS)
    assert {one["name"] for one in cpu["backends"] if one["usable"]} >= {"textbook", "sdpa", "math", "flex", "inspect"}
    assert all(one["usable"] != bool(one["reason"]) for one in cpu["backends"])
    text = attn("devices").stdout.decode()
    assert "cudnn" in text
    assert "float32" in text


def test_the_names_that_can_be_asked_for_are_those_that_there_are():
    from attn_cli.benchmark.contenders import CONTENDERS

    assert tuple(CONTENDERS) == BACKENDS
