"""The layer × head table: a row a layer, a column a head, each cell what the head does."""

from __future__ import annotations

from rich.text import Text

from attn_cli.inspection.over_calls import HeadSummary
from attn_cli.reporters.terminal.canvas import Canvas
from attn_cli.reporters.terminal.overview_lines import Lines
from attn_cli.reporters.terminal.palette import LABEL_STYLES
from attn_cli.reporters.terminal.tables import Column, print_table

# Four characters and a star, so that twelve heads fit into 80 columns.
SHORT_LABELS = {
    "previous-token": "prev",
    "next-token": "next",
    "self": "self",
    "sink": "sink",
    "local": "loc",
    "broad": "brd",
    "focused": "foc",
    "inactive": "off",
    "mixed": "mix",
    "broken": "BAD",
}


def print_labels(canvas: Canvas, lines: Lines) -> None:
    """Every head's label; a star where its batch items or steps differ."""
    canvas.heading(lines.title("Heads"), f"what each does in each {'step' if lines.are_steps else 'layer'}")
    of_line = [{head.head: head for head in module.heads} for module in lines.modules]
    columns = [lines.column(canvas)]
    for number in head_numbers(lines):
        cells = tuple(_label(canvas, heads.get(number)) for heads in of_line)
        columns.append(Column(head_name(canvas, number), cells, right=False))
    print_table(canvas, columns, gap=1)
    _print_legend(canvas, lines)


def head_numbers(lines: Lines) -> list[int]:
    """The heads that any line has."""
    return sorted({head.head for module in lines.modules for head in module.heads})


def head_name(canvas: Canvas, number: int) -> Text:
    """``h3``, which no layer's number is taken for."""
    return canvas.text(f"h{number}", "dim")


def _label(canvas: Canvas, head: HeadSummary | None) -> Text:
    if head is None:
        return canvas.text("–", "dim")
    star = "" if head.is_unanimous else "*"
    return canvas.text(SHORT_LABELS.get(head.label, head.label) + star, LABEL_STYLES.get(head.label, ""))


def full_label(canvas: Canvas, head: HeadSummary) -> Text:
    """``sink``, or ``sink 7/10`` where not all batch items and steps agree."""
    share = "" if head.is_unanimous else f" {head.counts[head.label]}/{sum(head.counts.values())}"
    return canvas.text(head.label + share, LABEL_STYLES.get(head.label, ""))


def _print_legend(canvas: Canvas, lines: Lines) -> None:
    heads = [head for module in lines.modules for head in module.heads]
    found = {head.label for head in heads}
    parts = [
        canvas.join([canvas.text(short, LABEL_STYLES[label]), canvas.text(label, "dim")])
        for label, short in SHORT_LABELS.items()
        if label in found and short != label
    ]
    if any(not head.is_unanimous for head in heads):
        parts.append(canvas.text(f"* most {lines.over}, not all", "dim"))
    if any(head.label == "broken" and not head.is_unanimous for head in heads):
        parts.append(canvas.text("BAD* broken in some", "dim"))
    canvas.paragraph(canvas.join(parts, " · "), indent=2)
