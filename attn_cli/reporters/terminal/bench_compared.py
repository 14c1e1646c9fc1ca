"""A benchmark beside its baseline."""

from __future__ import annotations

from collections import Counter
from itertools import groupby

from attn_cli.benchmark.types import Compared, Comparison, Verdict
from attn_cli.reporters.terminal.bench_numbers import case_parts, percent, ratio
from attn_cli.reporters.terminal.canvas import Canvas
from attn_cli.reporters.terminal.palette import BAD, GOOD
from attn_cli.reporters.terminal.tables import Column, print_table
from attn_cli.reporters.terminal.text import count

_VERDICTS: tuple[Verdict, ...] = ("SLOWER", "FASTER", "SAME", "UNCLEAR")
_STYLES = {"SLOWER": BAD, "FASTER": GOOD, "UNCLEAR": "bold"}


def print_comparison(canvas: Canvas, comparison: Comparison) -> None:
    """The verdict on every result that both have, and what the two do not share."""
    counts = Counter(entry.verdict for entry in comparison.entries)
    told = ", ".join(f"{counts[verdict]} {verdict}" for verdict in _VERDICTS if counts[verdict])
    canvas.heading("Baseline", told)
    canvas.paragraph(canvas.text(comparison.file, "dim"), indent=2, hanging=2)
    for case, entries in groupby(comparison.entries, key=lambda entry: entry.case):
        canvas.paragraph(canvas.text(", ".join(case_parts(case)), "dim"), indent=2, hanging=2)
        print_table(canvas, _columns(canvas, list(entries)))
    if comparison.entries:
        said = "ratio: new median over old, with its 99% confidence interval · margin: what still counts as the same"
        canvas.paragraph(canvas.text(said, "dim"), indent=2)
    else:
        canvas.paragraph(canvas.text("no result is in both"), indent=2)
    if comparison.missing:
        said = f"{count(comparison.missing, 'result')} in only one of the two"
        canvas.paragraph(canvas.text(said, "dim"), indent=2, hanging=2)
    for note in comparison.notes:
        canvas.paragraph(canvas.join([canvas.text("note:", "bold"), canvas.text(note)]), indent=2, hanging=2)


def _columns(canvas: Canvas, entries: list[Compared]) -> list[Column]:
    def column(header: str, cells: list[str]) -> Column:
        return Column(canvas.text(header, "dim"), tuple(canvas.text(cell) for cell in cells))

    names = tuple(canvas.text(entry.backend) for entry in entries)
    verdicts = tuple(canvas.text(entry.verdict, _STYLES.get(entry.verdict, "")) for entry in entries)
    return [
        Column(canvas.text("backend", "dim"), names, right=False, repeat=True),
        Column(canvas.text("verdict", "dim"), verdicts, right=False),
        column("ratio", [ratio(entry.ratio) for entry in entries]),
        column("interval", [f"{ratio(entry.low)}–{ratio(entry.high)}" for entry in entries]),
        column("margin", [percent(entry.margin) for entry in entries]),
    ]
