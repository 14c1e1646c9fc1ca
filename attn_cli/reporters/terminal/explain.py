"""An explanation: whose numbers they are, every step, what the kernel gives, and what is wrong."""

from __future__ import annotations

from rich.console import Console

from attn_cli.explanation.types import Explanation
from attn_cli.reporters.terminal.canvas import Canvas
from attn_cli.reporters.terminal.explain_cell import print_cell
from attn_cli.reporters.terminal.explain_page import Page, shown_token
from attn_cli.reporters.terminal.explain_row import print_row
from attn_cli.reporters.terminal.findings import print_findings
from attn_cli.reporters.terminal.header import source_name


def render_explanation(told: Explanation, console: Console) -> None:
    """Print one row, or one cell of it, told step by step.

    Args:
        told: every number of it.
        console: its width, colours and encoding decide how it looks.
    """
    page = Page(Canvas.on(console), told)
    _print_head(page)
    if told.cell is None:
        print_row(page)
    else:
        print_cell(page, told.cell)
    _print_kernel(page)
    print_findings(page.canvas, told.findings)


def _print_head(page: Page) -> None:
    """What was read, and which row or cell of it is told."""
    canvas, told = page.canvas, page.told
    call, shape = told.call, told.shape
    parts = [canvas.text(source_name(call.source), "bold")]
    parts += [canvas.text(f"layer {call.layer}")] if call.layer is not None else []
    parts += [canvas.text(call.prefix, "dim")] if call.prefix else []
    canvas.paragraph(canvas.join(parts, " · "), hanging=2)
    axes: list[tuple[str, int, int, str | None]]
    axes = [("batch", told.batch, shape[0], None), ("head", told.head, shape[1], None)]
    if told.kv_head is not None and told.kv_heads is not None and told.kv_heads < shape[1]:
        axes.append(("key/value head", told.kv_head, told.kv_heads, None))
    axes.append(("query", told.query, shape[2], told.query_token))
    if told.cell is not None:
        axes.append(("key", told.cell.key, shape[3], told.token(told.cell.key)))
    where = [
        canvas.text(f"{name} {number} of {total}{'' if token is None else ' ' + shown_token(token)}", "bold")
        for name, number, total, token in axes
    ]
    canvas.paragraph(canvas.join(where, " · "), hanging=2)
    read = [f"{one.name}: {one.value} ({one.origin})" for one in call.conventions]
    canvas.paragraph(canvas.join([canvas.text("read as"), canvas.text(" · ".join(read), "dim")]), hanging=2)
    computed = f"Computed in float64 from the file's {told.dtype} numbers; counts start at 0."
    canvas.paragraph(canvas.text(computed, "dim"))


def _print_kernel(page: Page) -> None:
    """How far the kernel's output of this row is from the one that was told."""
    canvas, kernel = page.canvas, page.told.kernel
    canvas.heading("Beside the kernel")
    if kernel.reason is not None:
        canvas.paragraph(canvas.text(f"not compared: {kernel.reason}"), indent=2, hanging=2)
        return
    ran = canvas.join([f"{kernel.ran} in {kernel.dtype} on {kernel.device}"])
    if kernel.difference is None or kernel.feature is None:
        said = "gives no output value that is finite where this one is"
    elif kernel.difference == 0:
        said = "gives the same output for this row"
    else:
        ours, theirs = page.told.row.output[kernel.feature], kernel.output[kernel.feature]
        said = (
            f"gives this row's output within {kernel.difference:.2g}: "
            f"{theirs:.9g} beside {ours:.9g} at feature {kernel.feature}"
        )
    canvas.paragraph(canvas.join([ran, canvas.text(said)]), indent=2, hanging=2)
    if kernel.disagreements:
        lonely = f"{kernel.disagreements} of {page.told.value_dim} values are finite in one of the two only"
        canvas.paragraph(canvas.text(lonely), indent=2, hanging=2)
