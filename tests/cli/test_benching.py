"""What ``attn bench`` makes of a report, with the measuring replaced by records made by hand."""

from __future__ import annotations

import json
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
