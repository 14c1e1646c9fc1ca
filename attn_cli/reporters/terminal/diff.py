"""A comparison as text: what was compared, what differs and where, and a verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rich.console import Console
from rich.text import Text

from attn_cli.differences.types import CallDifference, DiffResult, Ran, SideRecord
from attn_cli.inputs.types import CallRecord
from attn_cli.inspection.types import Finding
from attn_cli.reporters.terminal.canvas import Canvas
from attn_cli.reporters.terminal.diff_pictures import print_maps
from attn_cli.reporters.terminal.diff_tables import (
    NO_PREFIX,
    mark,
    print_calls,
    print_heads,
    print_tensors,
    tensor_name,
    tolerance_and_dtype,
)
from attn_cli.reporters.terminal.findings import print_findings
from attn_cli.reporters.terminal.header import source_name
from attn_cli.reporters.terminal.labels import has_own_layer, how_to_open, step_name
from attn_cli.reporters.terminal.palette import BAD, GOOD
from attn_cli.reporters.terminal.text import count

SIDES = ("left", "right")
MOST_OPENED = 2
MOST_FINDINGS = 12


def render_diff(result: DiffResult, console: Console) -> None:
    """Print what a comparison found.

    Args:
        result: whole.
        console: its width, colours and encoding decide how tables are paged and heads are drawn.
    """
    canvas = Canvas.on(console)
    _print_sides(canvas, result)
    if not result.is_one_input:
        _print_named(canvas, result)
    _print_calls(canvas, result)
    if result.findings:
        # The place is that of the worst value; the message counts the others.
        findings = [replace(finding, count=None) for finding in _told(result)]
        print_findings(canvas, findings, MOST_FINDINGS, "--layer or --prefix shows a part, --json holds all")
    _print_verdict(canvas, result)


def _told(result: DiffResult) -> list[Finding]:
    """The findings, those of a call with its prefix where no number names it."""
    records = [call.left for call in result.calls]
    told = []
    for call, finding in result.findings:
        if call is not None and len(records) > 1 and not has_own_layer(call, records):
            finding = replace(finding, layer=None, message=f"{step_name(call, records)}: {finding.message}")
        elif call is not None:
            finding = replace(finding, layer=call.layer)
        told.append(finding)
    return told


def _print_sides(canvas: Canvas, result: DiffResult) -> None:
    first = result.calls[0] if result.calls else None
    for name, side, ran in (
        ("left ", result.left, None if first is None else first.left_ran),
        ("right", result.right, None if first is None else first.right_ran),
    ):
        _print_side(canvas, name, side, ran)
    if first is not None:
        _print_conventions(canvas, first)
    for note in diff_notes(result):
        canvas.paragraph(canvas.join([canvas.text("note:", "bold"), canvas.text(note)]), hanging=2)


def _print_side(canvas: Canvas, name: str, side: SideRecord, ran: Ran | None) -> None:
    parts: list[Text | str] = [canvas.text(source_name(side.file), "bold")]
    if ran is not None:
        chosen = ran.ran if ran.requested in (ran.ran, "recorded") else f"{ran.requested} → {ran.ran}"
        parts += [ran.device, ran.dtype, chosen]
        parts += [canvas.text(ran.kernel, "dim")] if ran.kernel != ran.ran else []
    canvas.paragraph(canvas.join([canvas.text(name, "dim"), canvas.join(parts, " · ")], "  "), hanging=7)
    if ran is not None and ran.note:
        canvas.paragraph(canvas.text(f"{ran.requested} took {ran.ran}: {ran.note}", "dim"), indent=7, hanging=2)


def _print_conventions(canvas: Canvas, call: CallDifference) -> None:
    """The readings in which the two sides differ."""
    for name, left, right in settings_that_differ(call):
        parts: list[Text | str] = [canvas.text(name, "dim"), f"left {left}", f"right {right}"]
        canvas.paragraph(canvas.join(parts, " · "), hanging=2)


def settings_that_differ(call: CallDifference) -> list[tuple[str, str, str]]:
    """The name of each reading in which the two sides differ, and what it is on each."""
    left, right = ({one.name: one.value for one in side.conventions} for side in (call.left, call.right))
    every = ((name, left.get(name, "none"), right.get(name, "none")) for name in dict.fromkeys((*left, *right)))
    return [one for one in every if one[1] != one[2]]


def diff_notes(result: DiffResult) -> list[str]:
    """What else is to be known, each once."""
    of_calls = [note for call in result.calls for note in call.notes]
    return list(dict.fromkeys((*result.notes, *of_calls)))


def _print_named(canvas: Canvas, result: DiffResult) -> None:
    """The tensors of two files, and the heads of those that are outputs or weights and differ."""
    differing = [tensor for tensor in result.tensors if not tensor.within]
    parts = [f"{len(result.tensors)} in both"]
    parts += [f"{len(differing)} differ" if len(differing) != 1 else "1 differs"] if differing else []
    parts += [f"{len(result.only_left)} in the left alone"] if result.only_left else []
    parts += [f"{len(result.only_right)} in the right alone"] if result.only_right else []
    canvas.heading("Tensors", ", ".join(parts))
    print_tensors(canvas, result.tensors)
    opened = [tensor for tensor in differing if tensor.compared is not None and not tensor.compared.within]
    for tensor in opened[:MOST_OPENED]:
        assert tensor.compared is not None  # those without were left out
        canvas.heading(tensor_name(tensor), tolerance_and_dtype(tensor.compared.tolerance))
        is_output = tensor.compared.quantity == "output"
        print_heads(canvas, *((tensor.compared, None) if is_output else (None, tensor.compared)))
        print_maps(canvas, tensor.compared)


def _print_calls(canvas: Canvas, result: DiffResult) -> None:
    """One call with its heads; several in a line each, and the first of those that differ with their heads."""
    if len(result.calls) > 1:
        canvas.heading("Attention", "a line for each call: the largest difference of its heads")
        print_calls(canvas, result.calls)
        opened = [call for call in result.calls if not call.within and call.parts]
    else:
        opened = list(result.calls)
    for call in opened[:MOST_OPENED]:
        _print_call(canvas, call, [one.left for one in result.calls])
    if result.calls:
        _print_uncompared(canvas, result.calls[0])
    if len(opened) > MOST_OPENED:
        option = how_to_open(opened[MOST_OPENED].left, [one.left for one in result.calls])
        more = len(opened) - MOST_OPENED
        differ = "1 more call differs" if more == 1 else f"{more} more calls differ"
        said = f"{differ}: {option} shows the heads of the next"
        canvas.line()
        canvas.paragraph(canvas.text(said, "dim"), indent=2)


def _print_call(canvas: Canvas, call: CallDifference, calls: Sequence[CallRecord]) -> None:
    title = "Attention" if len(calls) == 1 and not call.left.prefix else _title(call.left, calls)
    told = [tolerance_and_dtype(part.tolerance) for part in call.parts]
    canvas.heading(title, f"equal within {', '.join(dict.fromkeys(told))}" if told else "")
    if len(calls) == 1 and call.left.prefix.lower() != call.right.prefix.lower():
        prefixes = [canvas.text(one.prefix or NO_PREFIX) for one in (call.left, call.right)]
        sides = [canvas.join([canvas.text(side, "dim"), one]) for side, one in zip(SIDES, prefixes, strict=True)]
        canvas.paragraph(canvas.join(sides, " · "), indent=2, hanging=2)
    if call.reason is not None:
        canvas.paragraph(canvas.text(f"cannot be compared: {call.reason}"), indent=2, hanging=2)
    if call.parts:
        print_heads(canvas, call.output, call.weights, only_differing=len(calls) > 1)
    for part in call.parts[::-1]:
        if not part.within:
            print_maps(canvas, part)
            break


def _print_uncompared(canvas: Canvas, call: CallDifference) -> None:
    said = uncompared_text(call)
    if said is not None:
        canvas.paragraph(canvas.text(said, "dim"), indent=2, hanging=2)


def uncompared_text(call: CallDifference) -> str | None:
    """Why weights are not compared, where they are not."""
    if call.weights is not None or call.output is None:
        return None
    if call.right_ran is not None and call.right_ran.requested == "recorded":
        return "weights are not compared: the file holds none that fit"
    return "weights are not compared: both sides have the same Q, K and rules, and a kernel gives no weights"


def _title(call: CallRecord, calls: Sequence[CallRecord]) -> str:
    name = step_name(call, calls)
    return f"L{name[1:]}" if name.startswith("layer ") else name


def _print_verdict(canvas: Canvas, result: DiffResult) -> None:
    canvas.line()
    text = canvas.text(verdict_text(result), GOOD if result.within else BAD)
    canvas.paragraph(canvas.join([mark(canvas, result.within), text]), hanging=2)


def verdict_text(result: DiffResult) -> str:
    """``1 attention call and 4 tensors: 2 differ``."""
    calls, tensors = count(len(result.calls), "attention call"), count(len(result.tensors), "tensor")
    what = [calls] if result.calls else []
    what += [] if result.is_one_input else [tensors]
    said = " and ".join(what)
    if result.within:
        return f"{said}: equal within the tolerance"
    verdicts = [one.within for one in result.calls] + [one.within for one in result.tensors]
    differing = verdicts.count(False)
    lonely = len(result.only_left) + len(result.only_right)
    alone = f", {count(lonely, 'tensor')} on one side alone" if lonely else ""
    return f"{said}: {differing} differ{'s' if differing == 1 else ''}{alone}"
