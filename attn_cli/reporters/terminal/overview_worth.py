"""The heads worth looking at, one of each kind: why, and how to open it."""

from __future__ import annotations

from rich.text import Text

from attn_cli.inspection.worth import WorthLooking
from attn_cli.reporters.terminal.canvas import Canvas, padded
from attn_cli.reporters.terminal.overview_lines import Lines
from attn_cli.reporters.terminal.palette import LABEL_STYLES

_MOST = 8


def print_worth_looking(canvas: Canvas, lines: Lines) -> None:
    """A paragraph a kind; none where no head stands out."""
    found = lines.result.worth_looking_at
    if not found:
        canvas.heading("Worth looking at", "no head stands out")
        return
    canvas.heading("Worth looking at", "the head of each kind that shows it best")
    width = max(len(one.kind) for one in found[:_MOST])
    for one in found[:_MOST]:
        canvas.paragraph(_line(canvas, lines, one, width), indent=2, hanging=width + 2)
    if len(found) > _MOST:
        kinds = ", ".join(one.kind for one in found[_MOST:])
        canvas.paragraph(canvas.text(f"and {kinds}: --json holds all", "dim"), indent=2, hanging=2)


def _line(canvas: Canvas, lines: Lines, one: WorthLooking, width: int) -> Text:
    kind = padded(canvas.text(one.kind, LABEL_STYLES.get(one.kind, "")), width)
    option = canvas.text(_option(lines, one), "bold")
    return canvas.join([kind, option, canvas.text(one.why)], "  ")


def _option(lines: Lines, one: WorthLooking) -> str:
    """What opens the head: in the call that is meant, in all that differ, or in the one that shows most."""
    module = lines.result.modules[one.module]
    call = module.largest if one.call is None else module.calls[one.call]
    option = f"{lines.option(one.module, None if one.kind == 'changing' else call)} --head {one.head}"
    return option if one.batch is None or call.inspection.index.total_batch == 1 else f"{option} --batch {one.batch}"
