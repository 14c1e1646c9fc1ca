"""A file with many layers at one glance: what every head of every layer does, and which to open."""

from __future__ import annotations

from attn_cli.inspection.types import Finding
from attn_cli.reporters.terminal.canvas import Canvas
from attn_cli.reporters.terminal.findings import print_findings
from attn_cli.reporters.terminal.header import print_backend, print_conventions, print_source, print_unused
from attn_cli.reporters.terminal.merged import merged_findings
from attn_cli.reporters.terminal.overview_labels import print_labels
from attn_cli.reporters.terminal.overview_layers import print_layers
from attn_cli.reporters.terminal.overview_lines import MOST_STEPS, Lines
from attn_cli.reporters.terminal.overview_metric import print_metric, print_ranking
from attn_cli.reporters.terminal.overview_worth import print_worth_looking
from attn_cli.results import RunResult

_MOST_FINDINGS = 12


def print_overview(canvas: Canvas, result: RunResult) -> None:
    """Header, layer × head tables, heads worth looking at, a line for every layer, findings, and how to open one."""
    first, lines = result.calls[0], Lines(result)
    print_source(canvas, first, with_layer=False)
    print_backend(canvas, first)
    print_conventions(canvas, [one.call for one in result.calls])
    print_unused(canvas, first)
    print_labels(canvas, lines)
    if result.metric is not None:
        print_metric(canvas, lines, result.metric)
        if result.order is not None:
            print_ranking(canvas, lines, result.metric, result.order)
    print_worth_looking(canvas, lines)
    print_layers(canvas, lines)
    print_findings(canvas, _findings(lines), _MOST_FINDINGS, "one layer shows its own, --json holds all")
    _print_how_to_open(canvas, lines)


def _print_how_to_open(canvas: Canvas, lines: Lines) -> None:
    """The call with most findings, the first of equals."""
    places = [(place, call) for place, module in enumerate(lines.result.modules) for call in module.calls]
    place, opened = max(places, key=lambda one: len(one[1].inspection.findings))
    pictures = "pictures" if opened.inspection.pictures.zoom is None else "pictures of the zoom"
    said = f"shows every head of {lines.name(place, opened)}, with {pictures} and metrics."
    canvas.line()
    canvas.paragraph(canvas.join([canvas.text(lines.option(place, opened), "bold"), said]))
    steps = len(lines.result.modules[place].calls)
    if lines.have_steps and steps > 1:
        which = f"its first {MOST_STEPS} steps" if steps > MOST_STEPS else "its steps"
        canvas.paragraph(canvas.join([canvas.text(lines.option(place), "bold"), f"shows {which}, a line each."]))


def _findings(lines: Lines) -> list[Finding]:
    """Every finding with its layer; the same one in several layers or steps once."""
    modules = lines.result.modules
    calls = [call for module in modules for call in module.calls]
    found = [(call.call, finding) for call in calls for finding in call.inspection.findings]
    return merged_findings(found, [call.call for call in calls])
