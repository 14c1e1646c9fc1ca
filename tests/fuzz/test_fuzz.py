"""A short fuzz from one seed; that the fuzzer finds what is planted; and that mutation is sound."""

import json
import os
import random
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cli.process import ROOT, environment
from tests.fuzz import seeds
from tests.fuzz.case import LONGEST, Case, decoded
from tests.fuzz.findings import Findings
from tests.fuzz.guide import HAS_ATHERIS, WITHOUT
from tests.fuzz.mutators.cases import crossed, mutate
from tests.fuzz.page import page_of
from tests.fuzz.targets import TARGETS, Target
from tests.fuzz.watcher import run_target
from tests.fuzz.worker import Shift

SEEDS = [case for draws in (seeds.reading, seeds.commands, seeds.bench) for case in draws()]
pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="the fuzzer forks its workers"),
    pytest.mark.filterwarnings("ignore:This process:DeprecationWarning"),  # pytest-xdist has threads
]


def fuzz(tmp_path: Path, target: str, runs: int, *more: str) -> dict:
    """A short fuzz in a process of its own; its summary."""
    line = [
        sys.executable,
        "-m",
        "tests.fuzz",
        "--target",
        target,
        "--runs",
        str(runs),
        "--seed",
        "1",
        "--place",
        str(tmp_path),
    ]
    done = subprocess.run(
        [*line, *more], cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=300, check=False
    )
    told = "\n".join(path.read_text() for path in (tmp_path / "findings").glob("*.txt"))
    assert done.returncode == 0, done.stdout + done.stderr + told
    return json.loads((tmp_path / "summary.json").read_text())


@pytest.mark.skipif(not HAS_ATHERIS, reason=WITHOUT)
def test_no_reader_breaks_a_law_where_branches_guide_the_search(tmp_path: Path) -> None:
    summary = fuzz(tmp_path, "files", 800)
    found = summary["targets"]["files"]
    assert found["tried"] > 500
    assert found["edges"] > 500
    assert found["corpus"] > len(list(seeds.reading()))  # new ways through the readers were found


def test_no_command_breaks_a_law(tmp_path: Path) -> None:
    summary = fuzz(tmp_path, "commands", 150, "--unguided")
    assert summary["targets"]["commands"]["tried"] > 100


@pytest.mark.parametrize("case", SEEDS, ids=lambda case: " ".join(case.argv) or case.files[0][0])
def test_changed_cases_are_whole_and_the_same_for_the_same_seed(case: Case) -> None:
    data = case.encoded()
    assert decoded(data) == case
    others = {mutate(data, LONGEST, seed) for seed in range(20)}
    assert others == {mutate(data, LONGEST, seed) for seed in range(20)}
    assert len(others) > 5
    for other in [*others, crossed(data, min(others), LONGEST, 1)]:
        assert len(other) <= LONGEST
        assert decoded(other) is not None
        assert decoded(other).encoded() == other


def test_what_is_no_case_is_passed_over_and_made_one() -> None:
    for data in (b"", b"{}", b"[1]\nx", b'{"argv": [1], "files": []}', random.Random(0).randbytes(99)):
        assert decoded(data) is None
        assert decoded(mutate(data, LONGEST, 0)) is not None


def test_the_page_in_the_docs_is_that_of_its_figures() -> None:
    figures = ROOT / "docs" / "benchmarks" / "fuzz.json"
    assert figures.with_suffix(".md").read_text(encoding="utf-8") == page_of(json.loads(figures.read_text()))


def planted(tmp_path: Path, does: object, runs: int = 40) -> tuple[object, list[str]]:
    """Fuzz something of a test's own; what became of it, and the kinds of findings."""
    target = replace(TARGETS["files"], name="planted", does=does)
    assert isinstance(target, Target)
    findings = Findings(tmp_path / "findings")
    tally = run_target(Shift(target, tmp_path / "corpus", findings, 0.0, runs, 1, guided=False), tmp_path / "log")
    return tally, sorted(findings.names())


def test_an_input_that_kills_its_process_is_kept_and_the_fuzz_goes_on(tmp_path: Path) -> None:
    def dies(case: Case) -> int:
        if case.files[0][0].endswith(".npz"):
            os.kill(os.getpid(), signal.SIGSEGV)
        return 0

    tally, found = planted(tmp_path, dies)
    assert tally.deaths == tally.workers - 1 > 0
    assert tally.tried + tally.passed == 40
    (name,) = found
    kept = decoded((tmp_path / "findings" / f"{name}.case").read_bytes())
    assert kept.files[0][0].endswith(".npz")
    assert "SIGSEGV" in (tmp_path / "findings" / f"{name}.txt").read_text()


def test_an_input_that_hangs_is_killed_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.fuzz.watcher.LONGEST_CPU", 0.3)

    def hangs(case: Case) -> int:
        while case.files[0][0].startswith("masked"):
            pass
        return 0

    tally, found = planted(tmp_path, hangs, runs=8)
    assert tally.deaths > 0
    assert [name.split("-")[1] for name in found] == ["died"]


def test_whatever_is_raised_written_or_left_is_one_finding_a_kind(tmp_path: Path) -> None:
    def misbehaves(case: Case) -> int:
        name = case.files[0][0]
        if name.endswith(".npz"):
            raise KeyError("x")
        if name.endswith(".pt"):
            Path("left").write_text("x")
        if name.endswith(".safetensors"):
            os.write(2, b"a line of a library's\n")
        return 0

    tally, found = planted(tmp_path, misbehaves)
    assert tally.breaches > len(found)
    assert {name.split("-")[1] for name in found} == {"raised", "appeared", "wrote"}
    assert tally.new == found


def test_a_fault_of_the_fuzzer_is_no_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_given: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("tests.fuzz.worker.breaches", broken)
    with pytest.raises(RuntimeError, match="the fuzzer itself failed"):
        planted(tmp_path, lambda _case: 0)
