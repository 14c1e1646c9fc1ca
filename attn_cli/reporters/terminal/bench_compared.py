"""A benchmark beside its baseline."""

from __future__ import annotations

from collections import Counter
from itertools import groupby

from attn_cli.benchmark.types import Compared, Comparison, Lost, Verdict
from attn_cli.reporters.terminal.bench_numbers import UNKNOWN, case_parts, percent, ratio
from attn_cli.reporters.terminal.canvas import Canvas
from attn_cli.reporters.terminal.palette import BAD, GOOD
from attn_cli.reporters.terminal.tables import Column, print_table
from attn_cli.reporters.terminal.text import count

_VERDICTS: tuple[Verdict, ...] = ("SLOWER", "FASTER", "SAME", "UNCLEAR")
_STYLES = {"SLOWER": BAD, "FASTER": GOOD, "UNCLEAR": "bold"}

_RATIO = "ratio: new median over old, with its 99% confidence interval · margin: what still counts as the same"
_MACHINE = " · machine: what a fixed work took, new over old; where it explains a difference, the ratio leaves it out"


def print_comparison(canvas: Canvas, comparison: Comparison) -> None:
    """The verdict on every result that both have, and what the two do not share."""
    counts = Counter(entry.verdict for entry in comparison.entries)
    parts = [f"{counts[verdict]} {verdict}" for verdict in _VERDICTS if counts[verdict]]
    told = ", ".join([*parts, *([f"{len(comparison.lost)} lost"] if comparison.lost else [])])
    canvas.heading("Baseline", told)
    canvas.paragraph(canvas.text(comparison.file, "dim"), indent=2, hanging=2)
    has_machine = any(entry.machine is not None for entry in comparison.entries)
    for case, entries in groupby(comparison.entries, key=lambda entry: entry.case):
        canvas.paragraph(canvas.text(", ".join(case_parts(case)), "dim"), indent=2, hanging=2)
        print_table(canvas, _columns(canvas, list(entries), has_machine))
    if comparison.entries:
        canvas.paragraph(canvas.text(_RATIO + (_MACHINE if has_machine else ""), "dim"), indent=2)
    elif not comparison.lost:
        canvas.paragraph(canvas.text("no result is in both"), indent=2)
    for lost in comparison.lost:
        _print_lost(canvas, lost)
    if comparison.missing:
        said = f"{count(comparison.missing, 'result')} in only one of the two"
        canvas.paragraph(canvas.text(said, "dim"), indent=2, hanging=2)
    for note in comparison.notes:
        canvas.paragraph(canvas.join([canvas.text("note:", "bold"), canvas.text(note)]), indent=2, hanging=2)


def _print_lost(canvas: Canvas, lost: Lost) -> None:
    """What was right in the baseline and is not now, and why."""
    case = ", ".join(case_parts(lost.case))
    said = canvas.text(f"was ok and is {lost.status} now ({case}): {lost.reason or 'the reason is not known'}")
    name = canvas.text(lost.backend, BAD, limit=canvas.width // 2)
    canvas.paragraph(canvas.join([name, said], "  "), indent=2, hanging=4)


def _columns(canvas: Canvas, entries: list[Compared], has_machine: bool) -> list[Column]:
    def column(header: str, cells: list[str]) -> Column:
        return Column(canvas.text(header, "dim"), tuple(canvas.text(cell) for cell in cells))

    names = tuple(canvas.text(entry.backend) for entry in entries)
    verdicts = tuple(canvas.text(entry.verdict, _STYLES.get(entry.verdict, "")) for entry in entries)
    machine = [column("machine", [_machine(entry) for entry in entries])] if has_machine else []
    return [
        Column(canvas.text("backend", "dim"), names, right=False, repeat=True),
        Column(canvas.text("verdict", "dim"), verdicts, right=False),
        column("ratio", [ratio(entry.ratio) for entry in entries]),
        column("interval", [f"{ratio(entry.low)}–{ratio(entry.high)}" for entry in entries]),
        column("margin", [percent(entry.margin) for entry in entries]),
        *machine,
    ]


def _machine(entry: Compared) -> str:
    return UNKNOWN if entry.machine is None else ratio(entry.machine)
