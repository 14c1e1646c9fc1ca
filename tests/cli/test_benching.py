"""What ``attn bench`` makes of a report, with the measuring replaced by records made by hand."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import pytest
import torch

from attn_cli.benchmark.environment import describe
from attn_cli.benchmark.types import BenchReport
from attn_cli.commands import benching
from attn_cli.errors import ResourceError
from attn_cli.main import main
from attn_cli.reporters.json_report import bench_document
from tests.reporters.bench_results import CASE, FULL, refused, result

HERE = describe(torch.device("cpu"))


def _report(median: float = 2.0, **changes: object) -> BenchReport:
    """One backend with ten runs within 1 % of the median, on this machine."""
    one = result("sdpa", median)
    assert one.ms is not None
    samples = tuple(median * (1 + 0.001 * number) for number in range(-5, 6))
    results = (replace(one, ms=replace(one.ms, samples=samples, median=median)), refused("cudnn"))
    plain = replace(FULL, environment=HERE, results=results, growth=(), warnings=(), comparison=None)
    return replace(plain, **changes)  # type: ignore[arg-type]


@pytest.fixture
def bench(monkeypatch, capsys):
    """Runs ``attn bench`` on this report; gives the exit code, stdout and stderr, and keeps the plan."""
    plans = []

    def run(report, *arguments):
        monkeypatch.setattr(benching, "run_bench", lambda plan, *_: plans.append(plan) or report)
        code = main(["bench", "--device", "cpu", *arguments])
        return code, *capsys.readouterr()

    run.plans = plans
    return run


@pytest.fixture
def baseline(tmp_path):
    path = tmp_path / "old.json"
    path.write_text(json.dumps(bench_document(_report())))
    return str(path)


def test_without_flags_a_cpu_gets_its_defaults(bench):
    assert bench(_report())[0] == 0
    plan = bench.plans[0]
    assert [(case.queries, case.keys) for case in plan.cases] == [(512, 512), (1024, 1024), (2048, 2048)]
    assert {(case.batch, case.heads, case.kv_heads, case.head_dim, case.dtype, case.causal, case.mode)
            for case in plan.cases} == {(1, 8, 8, 64, "float32", False, "forward")}  # fmt: skip
    assert plan.backends[:3] == ("textbook", "sdpa", "flash")


def test_what_is_asked_for_is_planned(bench):
    bench(_report(), "--seq", "64", "--backend", "math,sdpa", "--causal", "--mode", "backward", "--min-time", "0.25")
    plan = bench.plans[0]
    assert (plan.backends, plan.min_time) == (("math", "sdpa"), 0.25)
    assert [(case.keys, case.causal, case.mode) for case in plan.cases] == [(64, True, "backward")]


@pytest.mark.parametrize(
    ("median", "flags", "code", "verdict"),
    [
        (2.0, [], 0, "SAME"),
        (2.0, ["--fail-on-regression", "5%"], 0, "SAME"),
        (2.4, [], 0, "SLOWER"),
        (2.4, ["--fail-on-regression", "5%"], 1, "SLOWER"),
        (2.4, ["--fail-on-regression", "0.3"], 0, "SAME"),
        (1.5, ["--fail-on-regression", "5%"], 0, "FASTER"),
    ],
)
def test_only_what_is_slower_by_more_fails_and_only_where_asked(bench, baseline, median, flags, code, verdict):
    found, out, err = bench(_report(median), "--baseline", baseline, *flags)
    assert (found, err) == (code, "")
    assert f"1 {verdict}" in out
    assert bench(_report(median), "--baseline", baseline, *flags, "--json")[0] == code


@pytest.mark.parametrize("status", ["wrong", "refused", "skipped", "failed"])
def test_what_is_lost_is_named_and_fails_where_that_is_asked_for(bench, baseline, status):
    gone = replace(refused("sdpa"), status=status)
    report = _report(results=(gone, result("math", 3.0)))
    code, out, _ = bench(report, "--baseline", baseline)
    assert code == 0
    assert f"sdpa was ok and is {status} now" in " ".join(out.split())
    code, out, err = bench(report, "--baseline", baseline, "--fail-on-regression", "5%", "--json")
    assert (code, err) == (1, "")
    (lost,) = json.loads(out)["data"]["comparison"]["lost"]
    assert (lost["backend"], lost["status"], lost["keys"], lost["reason"]) == ("sdpa", status, CASE.keys, gone.reason)
    assert f"- sdpa was ok, {status} now" in bench(report, "--baseline", baseline, "--markdown")[1]


def test_a_comparison_that_fails_loses_nothing(bench, baseline, monkeypatch, tmp_path):
    def fail(*_):
        raise ZeroDivisionError("float division by zero")

    monkeypatch.setattr(benching, "compare", fail)
    path = tmp_path / "new.json"
    code, out, err = bench(_report(), "--baseline", baseline, "--save", str(path))
    assert (code, err) == (0, "")
    assert "the comparison failed: ZeroDivisionError: float division by zero" in " ".join(out.split())
    saved = json.loads(path.read_text())["data"]
    assert saved["comparison"] is None
    assert saved["results"][0]["ms"]["samples"]


def test_heads_that_cannot_be_shared_are_a_warning_where_others_can(bench):
    assert bench(_report(), "--heads", "4,8", "--kv-heads", "8")[0] == 0
    plan = bench.plans[0]
    assert {(case.heads, case.kv_heads) for case in plan.cases} == {(8, 8)}
    assert "4 heads with 8 key/value heads" in plan.warnings[0].message
    code, _, err = bench(_report(), "--heads", "4", "--kv-heads", "8")
    assert (code, len(bench.plans)) == (2, 1)
    assert "--kv-heads 8" in err


def test_a_pipe_is_no_baseline_and_is_told_so(bench, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    code, _, err = bench(_report(), "--baseline", str(pipe))
    assert code == 2
    assert "is a pipe" in err


def test_the_saved_document_is_the_printed_one(bench, tmp_path):
    path = tmp_path / "new.json"
    _, out, _ = bench(_report(), "--json", "--save", str(path))
    assert path.read_text() == out


def test_a_failed_run_leaves_the_saved_file_alone(bench, tmp_path):
    path = tmp_path / "new.json"
    path.write_text("kept")
    assert bench(_report(), "--kv-heads", "3", "--save", str(path))[0] == 2
    assert path.read_text() == "kept"


def test_what_cannot_be_saved_is_printed_all_the_same(bench, monkeypatch, tmp_path):
    def full_disk(_, path):
        raise ResourceError(f"{path}: cannot be written: no space left")

    monkeypatch.setattr(benching, "_save", full_disk)
    code, out, err = bench(_report(), "--save", str(tmp_path / "new.json"))
    assert code == 3
    assert "sdpa" in out
    assert "no space left" in err
    code, out, _ = bench(_report(), "--save", str(tmp_path / "new.json"), "--json")
    assert (code, json.loads(out)["status"]) == (3, "error")


def test_an_interrupted_run_is_reported_with_130(bench):
    code, out, err = bench(_report(was_interrupted=True))
    assert (code, err) == (130, "attn: interrupted\n")
    assert "Interrupted" in out
    assert "sdpa" in out


def test_nothing_left_to_compare_is_a_warning_not_a_loss(bench, baseline):
    """All that the baseline has failed this time; something else was measured."""
    code, out, _ = bench(_report(results=(result("math", 3.0),)), "--baseline", baseline, "--seq", "512")
    assert code == 0
    assert "no result in common" in " ".join(out.split())
    assert CASE.dtype in out
