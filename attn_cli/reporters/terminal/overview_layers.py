"""A line for every layer: its calls, shapes, kernels, time, largest difference and findings."""

from __future__ import annotations

import math

from rich.text import Text

from attn_cli.benchmark.timing import median_and_iqr
from attn_cli.reporters.terminal.canvas import Canvas
from attn_cli.reporters.terminal.figures import milliseconds
from attn_cli.reporters.terminal.overview_lines import Lines
from attn_cli.reporters.terminal.palette import BAD, GOOD
from attn_cli.reporters.terminal.tables import Column, print_table
from attn_cli.reporters.terminal.timing import figure
from attn_cli.results import CallResult, ModuleResult

_TEXTS = ("B, Hq, Sq, Sk", "kernel")


def print_layers(canvas: Canvas, lines: Lines) -> None:
    """The table, and what its columns say."""
    canvas.heading("Steps" if lines.are_steps else "Layers")
    modules = lines.modules
    columns = {"steps": [canvas.text(len(module.calls)) for module in modules]} if lines.have_steps else {}
    columns |= {
        "B, Hq, Sq, Sk": [canvas.text(_shapes(module)) for module in modules],
        "kernel": [canvas.text(", ".join(dict.fromkeys(call.backend_ran for call in one.calls))) for one in modules],
        "attention": [canvas.text(milliseconds(_attention(module))) for module in modules],
        "difference": [_difference(canvas, module) for module in modules],
        "findings": [_count(canvas, module) for module in modules],
    }
    table = [lines.column(canvas)]
    for name, cells in columns.items():
        table.append(Column(canvas.text(name, "dim"), tuple(cells), right=name not in _TEXTS))
    print_table(canvas, table)
    said = "difference: the largest between weights shown × V and the kernel's output"
    said = f"attention: all steps together; {said}" if lines.have_steps else said
    canvas.paragraph(canvas.text(said, "dim"), indent=2)


def _shapes(module: ModuleResult) -> str:
    """``1, 12, 1–9, 9–17``: B, Hq, Sq and Sk of what was inspected."""
    axes = zip(*(_shape(call) for call in module.calls), strict=True)
    return ", ".join(str(min(axis)) if min(axis) == max(axis) else f"{min(axis)}–{max(axis)}" for axis in axes)


def _shape(call: CallResult) -> tuple[int, int, int, int]:
    index = call.inspection.index
    return len(index.batch), len(index.heads), len(index.queries), call.num_keys


def _attention(module: ModuleResult) -> float:
    """Milliseconds of all calls, the median of each."""
    return sum(median_and_iqr(call.timing.attention)[0] for call in module.calls)


def _difference(canvas: Canvas, module: ModuleResult) -> Text:
    agrees = all(call.verification.holds for call in module.calls)
    known = [call.verification.max_abs_error for call in module.calls]
    largest = max((error for error in known if not math.isnan(error)), default=math.nan)
    return canvas.join([figure(largest), canvas.text("✓" if agrees else "✗", GOOD if agrees else BAD)])


def _count(canvas: Canvas, module: ModuleResult) -> Text:
    findings = [finding for call in module.calls for finding in call.inspection.findings]
    is_bad = any(finding.severity == "error" for finding in findings)
    return canvas.text(len(findings), BAD if is_bad else "" if findings else "dim")
