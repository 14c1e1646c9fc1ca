"""A whole report: one call with every head, or an overview of several."""

from __future__ import annotations

from rich.console import Console

from attn_cli.reporters.terminal.canvas import Canvas
from attn_cli.reporters.terminal.findings import print_findings
from attn_cli.reporters.terminal.header import print_header, print_steps
from attn_cli.reporters.terminal.metrics import print_metrics
from attn_cli.reporters.terminal.overview import print_overview
from attn_cli.reporters.terminal.pairs import print_pairs, print_similarity
from attn_cli.reporters.terminal.pictures import print_pictures
from attn_cli.reporters.terminal.timing import print_timing, print_verification
from attn_cli.results import CallResult, RunResult


def render_run(result: RunResult, console: Console) -> None:
    """Print what a run found: every head of a single call, an overview of several.

    Args:
        result: at least one call.
        console: its width, colours and encoding decide how the heads are drawn.
    """
    canvas = Canvas.on(console)
    if len(result.calls) > 1:
        print_overview(canvas, result)
    else:
        _print_call(canvas, result.calls[0], result)


def _print_call(canvas: Canvas, call: CallResult, result: RunResult) -> None:
    print_header(canvas, call)
    print_steps(canvas, call)
    print_pictures(canvas, call)
    print_metrics(canvas, call, result.metric, result.order)
    print_pairs(canvas, call)
    print_similarity(canvas, call)
    print_findings(canvas, call.inspection.findings)
    print_timing(canvas, call.timing)
    print_verification(canvas, call.verification)
