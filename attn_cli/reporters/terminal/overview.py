"""A file with many layers at one glance: what every head of every layer does, and which layer to open."""

from __future__ import annotations

from collections import Counter

from rich.text import Text

from attn_cli.benchmark.timing import median_and_iqr
from attn_cli.inputs.types import CallRecord
from attn_cli.inspection.types import Finding
from attn_cli.reporters.terminal.canvas import Canvas
from attn_cli.reporters.terminal.findings import print_findings
from attn_cli.reporters.terminal.header import print_backend, print_conventions, print_source, print_unused
from attn_cli.reporters.terminal.labels import call_name, has_own_layer, how_to_open
from attn_cli.reporters.terminal.merged import merged_findings
from attn_cli.reporters.terminal.palette import BAD, GOOD, LABEL_STYLES
from attn_cli.reporters.terminal.tables import Column, print_table
from attn_cli.reporters.terminal.timing import figure, milliseconds
from attn_cli.results import CallResult, RunResult

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
_MOST_FINDINGS = 12


def print_overview(canvas: Canvas, result: RunResult) -> None:
    """Header, layer × head table, a line for every layer, findings, and how to open a layer."""
    first = result.calls[0]
    print_source(canvas, first, with_layer=False)
    print_backend(canvas, first)
    print_conventions(canvas, first)
    print_unused(canvas, first)
    _print_labels(canvas, result)
    _print_layers(canvas, result)
    print_findings(canvas, _findings(result), _MOST_FINDINGS, "one layer shows its own, --json holds all")
    canvas.line()
    opened, calls = _worth_opening(result), _records(result)
    option = canvas.text(how_to_open(opened.call, calls), "bold")
    pictures = "pictures" if opened.inspection.pictures.zoom is None else "pictures of the zoom"
    canvas.paragraph(
        canvas.join([option, f"shows every head of {call_name(opened.call, calls)}, with {pictures} and metrics."])
    )


def _print_labels(canvas: Canvas, result: RunResult) -> None:
    """A row a layer, a column a head, each cell the head's label."""
    canvas.heading("Heads", "what each does in each layer")
    numbers = sorted({head for call in result.calls for head in call.inspection.index.heads})
    columns = [Column(canvas.text("layer", "dim"), _layer_names(canvas, result), repeat=True)]
    for number in numbers:
        cells = tuple(_label(canvas, call, number) for call in result.calls)
        columns.append(Column(canvas.text(number, "dim"), cells, right=False))
    print_table(canvas, columns, gap=1)
    _print_legend(canvas, result)


def _layer_names(canvas: Canvas, result: RunResult) -> tuple[Text, ...]:
    calls = _records(result)
    names = (str(one.layer) if has_own_layer(one, calls) else call_name(one, calls) for one in calls)
    return tuple(canvas.text(name, "bold") for name in names)


def _label(canvas: Canvas, call: CallResult, number: int) -> Text:
    """The label that most batch items of a head have; a star where they differ."""
    heads = call.inspection.index.heads
    if number not in heads:
        return canvas.text("–", "dim")
    head = heads.index(number)
    labels = [batch[head] for batch in call.inspection.labels]
    label, times = Counter(labels).most_common(1)[0]
    star = "*" if times < len(labels) else ""
    return canvas.text(SHORT_LABELS.get(label, label) + star, LABEL_STYLES.get(label, ""))


def _print_legend(canvas: Canvas, result: RunResult) -> None:
    found = {label for call in result.calls for batch in call.inspection.labels for label in batch}
    parts = [
        canvas.join([canvas.text(short, LABEL_STYLES[label]), canvas.text(label, "dim")])
        for label, short in SHORT_LABELS.items()
        if label in found and short != label
    ]
    if any(len(call.inspection.labels) > 1 for call in result.calls):
        parts.append(canvas.text("* most batch items, not all", "dim"))
    canvas.paragraph(canvas.join(parts, " · "), indent=2)


def _print_layers(canvas: Canvas, result: RunResult) -> None:
    """A line for every layer: shape, kernel, time, largest difference and findings."""
    canvas.heading("Layers")
    columns = {
        "B, Hq, Sq, Sk": [canvas.text(weights_shape(call)) for call in result.calls],
        "kernel": [canvas.text(call.backend_ran) for call in result.calls],
        "attention": [canvas.text(milliseconds(median_and_iqr(call.timing.attention)[0])) for call in result.calls],
        "difference": [_difference(canvas, call) for call in result.calls],
        "findings": [_count(canvas, call) for call in result.calls],
    }
    table = [Column(canvas.text("layer", "dim"), _layer_names(canvas, result), repeat=True)]
    for name, cells in columns.items():
        table.append(Column(canvas.text(name, "dim"), tuple(cells), right=name not in ("B, Hq, Sq, Sk", "kernel")))
    print_table(canvas, table)
    difference = "difference: the largest between weights shown × V and the kernel's output"
    canvas.paragraph(canvas.text(difference, "dim"), indent=2)


def weights_shape(call: CallResult) -> str:
    """``B, Hq, Sq, Sk`` of what was inspected."""
    index = call.inspection.index
    return f"{len(index.batch)}, {len(index.heads)}, {len(index.queries)}, {call.num_keys}"


def _difference(canvas: Canvas, call: CallResult) -> Text:
    agrees = call.verification.holds
    return canvas.join(
        [figure(call.verification.max_abs_error), canvas.text("✓" if agrees else "✗", GOOD if agrees else BAD)]
    )


def _count(canvas: Canvas, call: CallResult) -> Text:
    findings = call.inspection.findings
    is_bad = any(finding.severity == "error" for finding in findings)
    return canvas.text(len(findings), BAD if is_bad else "" if findings else "dim")


def _findings(result: RunResult) -> list[Finding]:
    """Every finding with its layer; the same one in several layers once."""
    found = [(call.call, finding) for call in result.calls for finding in call.inspection.findings]
    return merged_findings(found, _records(result))


def _records(result: RunResult) -> list[CallRecord]:
    return [call.call for call in result.calls]


def _worth_opening(result: RunResult) -> CallResult:
    """The layer with most findings, the first of equals."""
    return max(result.calls, key=lambda call: len(call.inspection.findings))
