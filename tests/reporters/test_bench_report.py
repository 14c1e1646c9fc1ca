"""What the benchmark's report tells, at any width, and that nothing in it steers the terminal."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from attn_cli.benchmark.types import (
    BenchReport,
    BenchResult,
    Compared,
    Comparison,
    Growth,
    Peaks,
    Summary,
    Warned,
)
from attn_cli.reporters.terminal import render_bench
from attn_cli.reporters.terminal.bench_numbers import percent, rate, short, size
from tests.reporters.bench_results import CASE, COMPARISON, FULL, GPU_CASE, INTERRUPTED, RESULTS, refused, result, wrong
from tests.reporters.consoles import plain, printed
from tests.reporters.test_width import HOSTILE, LOOKS, TEXT


def _text(report: BenchReport, width: int = 100, encoding: str = "utf-8") -> str:
    return printed(lambda console: render_bench(report, console), width, encoding=encoding)


def _with(*results: BenchResult) -> BenchReport:
    return replace(FULL, results=results, growth=(), warnings=(), comparison=None)


def test_every_backend_that_was_timed_has_a_row_with_its_figures() -> None:
    row = next(line for line in _text(_with(result("sdpa", 2.0))).splitlines() if line.startswith("  sdpa "))
    assert row.split() == [
        "sdpa", "2.00", "ms", "3.0%", "0.268", "2.10", "12%", "1.00", "MiB", "2.4e-07", "✓", "6.00", "ms",
    ]  # fmt: skip


def test_a_backend_that_cannot_run_says_why_once_and_is_named_every_time() -> None:
    longer = replace(CASE, queries=1024, keys=1024)
    text = _text(_with(refused("cudnn"), result("sdpa", 1), refused("cudnn", longer), result("sdpa", 2, longer)))
    assert text.count("cudnn  refused: PyTorch has the cudnn kernel on CUDA alone") == 1
    assert text.count("as above: cudnn refused") == 1


def test_another_reason_is_told_in_full() -> None:
    longer = replace(CASE, queries=1024, keys=1024)
    text = _text(_with(refused("cudnn"), BenchResult("cudnn", longer, "skipped", "9 GiB are needed")))
    assert "skipped: 9 GiB are needed" in text
    assert "as above" not in text


def test_what_is_wrong_is_never_the_quickest() -> None:
    raw = printed(
        lambda console: render_bench(_with(wrong("flash", 0.1), result("sdpa", 2.0)), console), 100, "truecolor"
    )
    rows = [line for line in raw.splitlines() if "flash" in plain(line) or "sdpa " in plain(line)]
    green, red = "38;2;50;135;50", "38;2;215;50;50"
    assert green in rows[1].split("sdpa")[0]
    assert red in rows[0].split("flash")[0]
    assert "✗" in plain(rows[0])
    assert "wrong: its largest error" in plain(raw)


def test_what_was_not_compared_has_no_mark() -> None:
    text = _text(_with(replace(result("sdpa", 2.0), max_abs_error=None, tolerance=None)))
    row = next(line for line in text.splitlines() if line.startswith("  sdpa "))
    assert "✓" not in row
    assert "–" in row


def test_unknown_is_printed_as_unknown() -> None:
    text = _text(replace(FULL, environment={"driver": None}, peaks=Peaks({}, None)))
    assert "driver unknown" in text
    assert "copy unknown" in text


def test_what_a_processor_has_not_is_left_out_of_it() -> None:
    environment = {"device": "cpu", "driver": None, "allow_tf32": None, "governor": None, "clock_mhz": None}
    text = _text(replace(FULL, environment=environment))
    assert not any(name in text for name in ("driver", "tf32", "governor"))
    assert "clock_mhz unknown" in text or "clock mhz unknown" in text
    assert "driver unknown" in _text(replace(FULL, environment={**environment, "device": "cuda:0"}))


def test_what_was_partly_compared_says_so() -> None:
    part = replace(result("sdpa", 2.0), checked_rows=128)
    said = "error: of 128 query rows of each head, spread over all 512"
    assert said in _text(_with(part, refused("cudnn")))
    assert "query row" not in _text(_with(result("sdpa", 2.0)))


def test_what_was_not_compared_is_never_the_quickest() -> None:
    unchecked = replace(result("flash", 0.1), max_abs_error=None, tolerance=None)
    raw = printed(lambda console: render_bench(_with(unchecked, result("sdpa", 2.0)), console), 100, "truecolor")
    rows = [line for line in raw.splitlines() if plain(line).startswith(("  flash ", "  sdpa "))][:2]
    assert ["38;2;50;135;50" in row.split(name)[0] for row, name in zip(rows, ("flash", "sdpa"), strict=True)] == [
        False, True,
    ]  # fmt: skip


def test_the_growth_says_whether_the_queries_grow_along() -> None:
    case = replace(CASE, queries=128, keys=128)
    fixed, along = (
        Growth("sdpa", case, (64, 128), (1.0, 2.0), (None, None), 1.0, None, queries_grow)
        for queries_grow in (False, True)
    )
    assert "queries 128" in _text(replace(FULL, growth=(fixed,)))
    assert "queries = keys" in _text(replace(FULL, growth=(along,)))


def test_the_growth_is_drawn_where_it_belongs() -> None:
    points = (1.0, 4.0, 16.0)
    case = replace(CASE, queries=4096, keys=4096)
    growth = Growth("sdpa", case, (1024, 2048, 4096), points, (None,) * 3, 2.0, None, True)
    lines = _text(replace(FULL, growth=(growth,)), 80).splitlines()
    start = next(number for number, line in enumerate(lines) if line == "  time")
    field = [line[len("  16.0 ms │") :] for line in lines[start + 1 : start + 14]]
    marks = [(line.index("●"), row) for row, line in enumerate(field) if "●" in line]
    assert [row for _, row in marks] == [0, 6, 12]  # equal steps on both logarithmic axes
    columns = [column for column, _ in marks]
    assert columns[0] > columns[1] > columns[2]
    assert abs((columns[0] - columns[1]) - (columns[1] - columns[2])) <= 1
    assert lines[start + 14].split() == ["1024", "2048", "4096"]
    assert "memory" not in [line.strip() for line in lines]
    assert any("time length^2.00" in line and "memory –" in line for line in lines)


def test_series_of_other_settings_are_drawn_apart() -> None:
    other = tuple(replace(one, case=replace(one.case, dtype="bfloat16")) for one in FULL.growth)
    text = _text(replace(FULL, growth=(*FULL.growth, *other)))
    headings = re.findall(r"^Growth .*$", text, re.MULTILINE)
    assert ["float32" in heading for heading in sorted(headings)] == [False, True]


@pytest.mark.parametrize("verdict", ["FASTER", "SLOWER", "SAME", "UNCLEAR"])
def test_every_verdict_is_told_with_its_interval(verdict: str) -> None:
    entry = Compared("sdpa", CASE, verdict, 1.5, 1.4, 1.6, 0.05)  # type: ignore[arg-type]
    text = _text(replace(FULL, comparison=Comparison("old.json", (entry,), 0, ())))
    assert f"Baseline  1 {verdict}\n  old.json" in text
    assert re.search(rf"sdpa +{verdict} +1\.500 +1\.400–1\.600 +5\.0%", text)


def test_the_machines_own_speed_is_a_column_only_where_it_is_known() -> None:
    entry = Compared("sdpa", CASE, "SAME", 1.01, 0.99, 1.03, 0.05)
    unknown, known = (_text(replace(FULL, comparison=Comparison("old.json", (one,), 0, ())))
                      for one in (entry, replace(entry, machine=1.1)))  # fmt: skip
    assert re.search(r"sdpa +SAME .* 5\.0% +1\.100", known)
    assert "a fixed work" in " ".join(known.split())
    assert "machine" not in unknown.split("Baseline")[1]


def test_no_common_result_is_said() -> None:
    assert "no result is in both" in _text(replace(FULL, comparison=Comparison("old.json", (), 4, ())))


def test_an_interrupted_run_says_so() -> None:
    assert "Interrupted" in _text(INTERRUPTED)
    assert "Interrupted" not in _text(FULL)


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 B"), (999, "999 B"), (1000, "0.977 KiB"), (1 << 20, "1.00 MiB"), (None, "–")]
)
def test_sizes(number: int | None, text: str) -> None:
    assert size(number) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0"), (0.01234, "0.0123"), (9.876, "9.88"), (98.76, "98.8"), (9876.0, "9876")]
)
def test_three_digits(value: float, text: str) -> None:
    assert short(value) == text


@given(st.floats(1e-30, 1e30))
def test_what_is_shown_is_the_number(value: float) -> None:
    assert float(short(value)) == pytest.approx(value, rel=0.06)


def test_rates_and_shares() -> None:
    assert rate(1.5e12, "FLOP/s") == "1.50 TFLOP/s"
    assert rate(2.5e9, "B/s") == "2.50 GB/s"
    assert rate(None, "B/s") == "–"
    assert (percent(0.0312), percent(0.5), percent(1.0), percent(None)) == ("3.1%", "50%", "100%", "–")


@st.composite
def reports(draw: st.DrawFn) -> BenchReport:
    """Reports with any text wherever there is text, and numbers of every size."""
    times = st.floats(1e-6, 1e8)
    results = []
    for _ in range(draw(st.integers(0, 5))):
        case = draw(st.sampled_from([CASE, GPU_CASE, replace(GPU_CASE, dtype=draw(TEXT))]))
        median = draw(times)
        ms = draw(st.sampled_from([None, Summary((median,), median, 0.0, median)]))
        status = draw(st.sampled_from(["ok", "wrong", "refused", "skipped", "failed", "interrupted"]))
        value = draw(st.sampled_from([None, 0.0, 1e-9, 123.456, 1e15, float("nan"), float("inf")]))
        memory = draw(st.sampled_from([None, 0, 10**15]))
        results.append(
            BenchResult(
                draw(TEXT),
                case,
                status,
                draw(st.none() | TEXT),
                draw(st.none() | TEXT),
                value,
                ms,
                memory,
                value,
                value,
                3,
                value,
                value,
                value,
                value,
            )
        )
    growth = tuple(
        Growth(
            draw(TEXT),
            CASE,
            (1, 512, 10**6),
            (draw(times), None, draw(times)),
            (0, 5, 10**12),
            2.0,
            None,
            draw(st.booleans()),
        )
        for _ in range(draw(st.integers(0, 3)))
    )
    warnings = (Warned(draw(TEXT), draw(TEXT)),)
    entry = Compared(draw(TEXT), CASE, "SAME", draw(times), 0.1, 10.0, 0.05)
    comparison = draw(st.sampled_from([None, COMPARISON, Comparison(draw(TEXT), (entry,), 1, (draw(TEXT),))]))
    environment = {draw(TEXT): draw(st.one_of(TEXT, st.none(), st.booleans(), st.integers(), st.floats()))}
    return BenchReport(environment, Peaks({draw(TEXT): 1e12}, None), tuple(results), growth, warnings, comparison)


@settings(deadline=None, max_examples=60)
@given(reports(), st.integers(20, 200), LOOKS)
def test_a_report_keeps_to_the_width(report: BenchReport, width: int, look: tuple[str | None, str]) -> None:
    raw = printed(lambda console: render_bench(report, console), width, *look)
    for line in plain(raw).splitlines():
        assert cell_len(line) <= width
    assert all(character == "\n" or character.isprintable() for character in plain(raw))


def test_at_80_columns_nothing_is_cut_off() -> None:
    text = _text(FULL, 80)
    assert "…" not in text
    for one in RESULTS:
        assert one.backend in text


def test_hostile_reasons_are_shown_as_text() -> None:
    text = _text(_with(*(BenchResult("math", CASE, "failed", reason) for reason in HOSTILE[:4])), 140)
    assert "[red]x[/red]" in text
    assert r"\x1b[31m" in text
