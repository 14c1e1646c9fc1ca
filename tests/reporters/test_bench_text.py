"""A benchmark as CSV and as Markdown."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import pytest

from attn_cli.benchmark.types import BenchResult
from attn_cli.reporters.bench_text import CSV_COLUMNS, bench_csv, bench_markdown
from tests.reporters.bench_results import CASE, EMPTY, FULL, INTERRUPTED, REPORTS, RESULTS, failed, result


def _rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def _cells(line: str) -> int:
    return line.replace("\\|", "").count("|") - 1


def test_csv_has_a_line_a_result_in_their_order() -> None:
    rows = _rows(bench_csv(FULL))
    assert [(row["backend"], int(row["keys"]), row["status"]) for row in rows] == [
        (one.backend, one.case.keys, one.status) for one in RESULTS
    ]


def test_csv_numbers_are_the_numbers() -> None:
    row, one = _rows(bench_csv(FULL))[1], RESULTS[1]
    assert one.ms is not None
    assert (float(row["median_ms"]), float(row["iqr_ms"]), int(row["samples"])) == (one.ms.median, one.ms.iqr, 4)
    assert float(row["tflops"]) == one.tflops
    assert (row["causal"], row["mode"]) == ("false", "forward")
    assert (row["verdict"], float(row["ratio"])) == ("SLOWER", 1.21)
    assert (float(row["yardstick_ms"]), float(row["yardstick_ratio"])) == (0.625, 0.9375)


def test_csv_leaves_unknown_fields_empty() -> None:
    report = replace(FULL, results=(replace(result("sdpa", 1.0), tflops=float("nan"), peak_memory_bytes=None),))
    row = _rows(bench_csv(report))[0]
    assert row["tflops"] == row["peak_memory_bytes"] == row["reason"] == ""


@pytest.mark.parametrize("reason", ["=1+1", "+cmd", "-2", "@x", 'a,b"c\nd', "\x1b[31m"])
def test_csv_text_stays_text(reason: str) -> None:
    report = replace(FULL, results=(BenchResult("math", CASE, "failed", reason),))
    text = bench_csv(report)
    assert len(text.splitlines()) == 2
    field = _rows(text)[0]["reason"]
    assert not field.startswith(("=", "+", "-", "@"))
    assert "\x1b" not in field


def test_an_empty_report_is_a_header() -> None:
    assert bench_csv(EMPTY) == ",".join(CSV_COLUMNS) + "\n"


@pytest.mark.parametrize("name", REPORTS)
def test_markdown_tables_are_whole(name: str) -> None:
    blocks = bench_markdown(REPORTS[name]).split("\n\n")
    tables = [block.splitlines() for block in blocks if block.startswith("|")]
    assert len(tables) >= 2
    for lines in tables:
        assert len({_cells(line) for line in lines}) == 1


def test_markdown_tells_results_reasons_growth_and_verdicts() -> None:
    text = bench_markdown(FULL)
    assert "| sdpa | ok | 2.31 ms | 3.0% |" in text
    assert text.count("- cudnn refused: ") == 1
    assert "| sdpa | length^1.90 | length^1.00 |" in text
    assert "| sdpa | SLOWER | 1.210 | 1.180–1.250 | 5.0% | 0.938 |" in text
    assert "| textbook | SAME | 1.010 | 0.990–1.030 | 5.0% | – |" in text
    assert "- sdpa, 512 × 512: the runs differ" in text
    assert "Interrupted" in bench_markdown(INTERRUPTED)


def test_markdown_text_stays_text() -> None:
    text = bench_markdown(replace(FULL, results=(replace(failed("math"), reason="<b>|`x`[y](z)\x1b*_"),)))
    assert "- math failed: &lt;b>\\|\\`x\\`\\[y](z)\\x1b\\*\\_" in text
