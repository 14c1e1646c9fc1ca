"""What ``attn check`` found, file by file, and what came of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.text import Text

from attn_cli.attention.selection import Selection
from attn_cli.checks.types import CheckedCall, CheckResult
from attn_cli.inputs.unused import left_alone, resemblance
from attn_cli.inspection.findings.rules import Rule
from attn_cli.reporters.terminal.canvas import Canvas, padded
from attn_cli.reporters.terminal.findings import badge, print_finding, severities_text, worst_first
from attn_cli.reporters.terminal.header import backend_names, differing_text, shared_conventions, source_name
from attn_cli.reporters.terminal.merged import merged_findings
from attn_cli.reporters.terminal.palette import BAD, GOOD
from attn_cli.reporters.terminal.text import count, ranges

_MOST_RULES = 5
_MOST_UNUSED = 3


def render_checked(calls: Sequence[CheckedCall], console: Console) -> None:
    """Print the findings of one file, worst first, those of several layers once; nothing where there are none.

    Args:
        calls: all calls of the file.
        console: where to.
    """
    found = [(call.call, finding) for call in calls for finding in call.findings]
    if not found:
        return
    canvas = Canvas.on(console)
    title = canvas.text(source_name(calls[0].call.source), "bold")
    counts = canvas.text(severities_text([finding for _, finding in found]), "dim")
    canvas.paragraph(canvas.join([title, counts], "  "), hanging=2)
    for finding in worst_first(merged_findings(found, [call.call for call in calls])):
        print_finding(canvas, finding)
    canvas.line()


def render_verdict(result: CheckResult, console: Console) -> None:
    """Print what came of it: how much was checked, how much was found, what ran and by which conventions.

    Args:
        result: at least one call.
        console: where to.
    """
    canvas = Canvas.on(console)
    _print_summary(canvas, result)
    for text in (
        *_ran(result.calls),
        *_selected(result.calls),
        *_read_as(result.calls),
        *_unused(result.calls),
        *_rules(result),
    ):
        canvas.paragraph(canvas.text(text, "dim"), indent=2, hanging=2)
    for text in _missed(result.calls):
        label = badge(canvas, "info")
        canvas.paragraph(canvas.join([label, canvas.text(text)], " "), indent=2, hanging=2)
    if result.findings:
        code = worst_first(result.findings)[0].code
        command = canvas.text(f"attn check --rule {code}", "bold")
        canvas.paragraph(canvas.join([command, canvas.text("explains this code", "dim")]), indent=2, hanging=2)


def _print_summary(canvas: Canvas, result: CheckResult) -> None:
    style = GOOD if not result.findings else BAD if result.fails else "bold"
    mark = "✓ " if not result.findings else "✗ " if result.fails else ""
    canvas.paragraph(canvas.text(f"{mark}{summary_text(result)}", style), hanging=2)


def summary_text(result: CheckResult) -> str:
    """``12 calls in 2 files: 1 error, 2 warnings; 9 calls are clean``."""
    files = len({call.call.source for call in result.calls})
    checked = f"{count(len(result.calls), 'call')} in {count(files, 'file')}"
    clean = sum(not call.findings for call in result.calls)
    if not result.findings:
        return f"{checked}: no findings"
    said = f"{checked}: {severities_text(result.findings)}"
    if clean:
        said += f"; {count(clean, 'call')} {'is' if clean == 1 else 'are'} clean"
    if result.is_strict and all(finding.severity != "error" for finding in result.findings):
        said += "; strict: a warning fails the check" if result.fails else ""
    return said


def checked_texts(result: CheckResult) -> list[str]:
    """What ran, what of the calls was checked, and what was left alone; a sentence each."""
    calls = result.calls
    return [*_ran(calls), *_selected(calls), *_unused(calls), *_missed(calls)]


def _ran(calls: Sequence[CheckedCall]) -> Iterator[str]:
    """Device, dtype and kernel; a line for each that differs, with how many calls it ran."""
    ways = Counter(" · ".join(backend_names(call)) for call in calls)
    for way, times in ways.items():
        yield way if len(ways) == 1 else f"{way} ({count(times, 'call')})"


def _selected(calls: Sequence[CheckedCall]) -> Iterator[str]:
    """What of the calls was checked, where it was not all of them."""
    parts = dict.fromkeys(part for call in calls for part in _parts(call.call.selection))
    if parts:
        yield f"checked {', '.join(parts)} alone"


def _parts(selection: Selection) -> Iterator[str]:
    axes = (("batch", selection.batch), ("head", selection.heads), ("query", selection.queries))
    yield from (f"{name} {ranges(numbers)}" for name, numbers in axes if numbers is not None)


def _read_as(calls: Sequence[CheckedCall]) -> Iterator[str]:
    """Every reading that all calls share, and who chose it; then what those are that differ."""
    shared, differing = shared_conventions([call.call for call in calls])
    if shared:
        told = [f"{one.name} {one.value} ({one.origin})" for one in shared]
        yield f"read as {'; '.join(told)}"
    if differing:
        yield f"differing by call, --json has each: {differing_text(differing)}"


def _unused(calls: Sequence[CheckedCall]) -> Iterator[str]:
    """One line with the tensors that nothing was done with."""
    names = list(dict.fromkeys(info.name for call in calls for info in left_alone(call.call)))
    if names:
        yield f"not used: {_few(names)}"


def _few(names: Sequence[str]) -> str:
    more = len(names) - _MOST_UNUSED
    return ", ".join(names[:_MOST_UNUSED]) + (f" and {count(more, 'tensor')} more" if more > 0 else "")


def _missed(calls: Sequence[CheckedCall]) -> Iterator[str]:
    """Those of them that were perhaps meant to be used."""
    infos = dict.fromkeys(info for call in calls for info in left_alone(call.call))
    for kind in ("mask", "result"):
        alike = [info for info in infos if resemblance(info) == kind]
        if alike:
            named = _few([f"{info.name} {info.shape} {info.dtype}" for info in alike])
            verb = "looks" if len(alike) == 1 else "look"
            yield f"{named}: {verb} like a {kind}, and was not checked: its name, shape or dtype does not fit a call"


def _rules(result: CheckResult) -> Iterator[str]:
    """Which rules were looked at, where some were left out."""
    asked, left_out = ([rule.code for rule in rules] for rules in (result.rules, result.left_out))
    if not left_out:
        return
    total = len(asked) + len(left_out)
    if len(left_out) <= _MOST_RULES:
        yield f"{len(asked)} of {total} rules, without {', '.join(left_out)}"
    else:
        yield f"{len(asked)} of {total} rules: {', '.join(asked)}"


def render_rule(rule: Rule, console: Console) -> None:
    """Print what there is to know about one rule."""
    canvas = Canvas.on(console)
    canvas.paragraph(_name(canvas, rule), hanging=2)
    told = {"looks for": rule.sentence, "why": rule.why, "example": rule.example, "source": rule.source}
    width = max(map(len, told))
    for name, text in told.items():
        canvas.line()
        label = padded(canvas.text(name, "dim"), width)
        canvas.paragraph(canvas.join([label, canvas.text(text)], "  "), indent=2, hanging=width + 2)


def render_rules(rules: Sequence[Rule], console: Console) -> None:
    """Print the codes and names of several rules."""
    canvas = Canvas.on(console)
    for rule in rules:
        canvas.paragraph(_name(canvas, rule), hanging=2)
    canvas.line()
    command = canvas.text(f"attn check --rule {rules[0].code}", "bold")
    canvas.paragraph(canvas.join([command, canvas.text("explains a rule", "dim")]))


def _name(canvas: Canvas, rule: Rule) -> Text:
    widest = len(" warning ")
    parts = [canvas.text(rule.code, "bold"), padded(badge(canvas, rule.severity), widest), canvas.text(rule.name)]
    return canvas.join(parts, " ")
