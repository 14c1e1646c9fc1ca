"""A file with many layers at one glance: what every head of every layer does, and which to open."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from attn_cli.inspection.types import Finding
from attn_cli.reporters.terminal.canvas import Canvas
from attn_cli.reporters.terminal.findings import print_findings
from attn_cli.reporters.terminal.header import print_backend, print_conventions, print_source, print_unused
from attn_cli.reporters.terminal.merged import merged_findings
from attn_cli.reporters.terminal.overview_labels import print_labels
from attn_cli.reporters.terminal.overview_layers import print_layers
from attn_cli.reporters.terminal.overview_lines import Lines
from attn_cli.reporters.terminal.overview_metric import print_metric, print_ranking
from attn_cli.reporters.terminal.overview_worth import print_worth_looking
from attn_cli.results import CallResult, ModuleResult, RunResult

_MOST_FINDINGS = 12
_NUMBER = re.compile(r"\d+")


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


def _findings(lines: Lines) -> list[Finding]:
    """Every finding with its layer; the same one in several layers or steps once."""
    found = [
        (record, finding)
        for record, module in zip(lines.records, lines.result.modules, strict=True)
        for finding in _over_steps(module)
    ]
    return merged_findings(found, lines.records)


def _over_steps(module: ModuleResult) -> Iterator[Finding]:
    """A module's findings; those of several steps that differ in nothing but numbers once, as the first step has it."""
    if len(module.calls) == 1:
        yield from module.calls[0].inspection.findings
        return
    groups: dict[tuple[object, ...], list[tuple[CallResult, Finding]]] = {}
    for call in module.calls:
        for finding in call.inspection.findings:
            key = (finding.code, finding.severity, _NUMBER.sub("", finding.message), finding.hint)
            groups.setdefault(key, []).append((call, finding))
    for group in groups.values():
        yield _first_of(group, len(module.calls))


def _first_of(group: Sequence[tuple[CallResult, Finding]], total: int) -> Finding:
    call, finding = group[0]
    steps = len({one.call.step for one, _ in group})
    where = f"step {call.call.step}" if steps == 1 else f"{steps} of {total} steps, first in step {call.call.step}"
    counts = [one.count for _, one in group if one.count is not None]
    count = sum(counts) if len(counts) == len(group) else finding.count
    return replace(finding, count=count, message=f"{finding.message} (in {where})")
