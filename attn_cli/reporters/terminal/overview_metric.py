"""One metric of every head of every layer: as a table in colours, and as a ranking."""

from __future__ import annotations

import math

from rich.text import Text

from attn_cli.inspection.over_calls import HeadSummary
from attn_cli.inspection.ranking import Order, ranked
from attn_cli.reporters.terminal.canvas import Canvas
from attn_cli.reporters.terminal.metric_scale import UNITS, Scale, definition, metric_named, no_value
from attn_cli.reporters.terminal.overview_labels import full_label, head_name, head_numbers
from attn_cli.reporters.terminal.overview_lines import Lines
from attn_cli.reporters.terminal.tables import Column, print_table
from attn_cli.reporters.terminal.text import count

_MOST_RANKED = 20


def print_metric(canvas: Canvas, lines: Lines, name: str) -> None:
    """A row a layer, a column a head, each cell the head's value; range and definition below."""
    canvas.heading(lines.title(name), f"plain means over {lines.over}" if lines.over else "of each head in each layer")
    of_line = [{head.head: head for head in module.heads} for module in lines.modules]
    scale = Scale.of([_value(head, name) for heads in of_line for head in heads.values()])
    if math.isnan(scale.low):
        canvas.paragraph(canvas.text(no_value(name)), indent=2)
    else:
        columns = [lines.column(canvas)]
        for number in head_numbers(lines):
            cells = tuple(_cell(canvas, heads.get(number), name, scale) for heads in of_line)
            columns.append(Column(head_name(canvas, number), cells))
        print_table(canvas, columns, gap=1)
        canvas.paragraph(_range(canvas, scale, name), indent=2)
    canvas.paragraph(definition(canvas, name), indent=2)


def _value(head: HeadSummary, name: str) -> float:
    return head.values.get(name, math.nan)


def _cell(canvas: Canvas, head: HeadSummary | None, name: str, scale: Scale) -> Text:
    if head is None:
        return canvas.text("–", "dim")
    return scale.text(canvas, _value(head, name), head.label == "broken")


def _range(canvas: Canvas, scale: Scale, name: str) -> Text:
    """``lowest 0.12 · highest 2.98 · nats``, both on their colours."""
    unit, ends = metric_named(name).unit, {"lowest": scale.low, "highest": scale.high}
    parts = [canvas.join([canvas.text(word, "dim"), scale.text(canvas, end)]) for word, end in ends.items()]
    return canvas.join([*parts, canvas.text(UNITS.get(unit, unit), "dim")], " · ")


def print_ranking(canvas: Canvas, lines: Lines, name: str, order: Order) -> None:
    """The heads with the highest or lowest values, the first of them."""
    heads = [module.heads for module in lines.modules]
    found, total = ranked(heads, name, order), sum(map(len, heads))
    if not found:
        return
    canvas.heading(f"{order.capitalize()}est {name}")
    scale, shown = Scale.of([_value(head, name) for _, head in found]), found[:_MOST_RANKED]
    columns = {
        "head": [canvas.text(head.head) for _, head in shown],
        "label": [full_label(canvas, head) for _, head in shown],
        name: [scale.text(canvas, _value(head, name)) for _, head in shown],
    }
    table = [lines.column(canvas, [place for place, _ in shown])]
    table += [Column(canvas.text(title, "dim"), tuple(cells), title != "label") for title, cells in columns.items()]
    print_table(canvas, table)
    more = [f"and {count(len(found) - len(shown), 'head')} more"] if len(found) > len(shown) else []
    more += [f"{count(total - len(found), 'head')} without a value"] if len(found) < total else []
    if more:
        canvas.paragraph(canvas.text(f"{'; '.join(more)}; --json holds all", "dim"), indent=2)
