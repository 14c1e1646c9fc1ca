"""The table of ``attn record --stats``, a row a module, and what was found. Free of torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.text import Text

from attn_cli.reporters.terminal.canvas import Canvas
from attn_cli.reporters.terminal.figures import decimal, milliseconds
from attn_cli.reporters.terminal.palette import BAD, LABEL_STYLES, SEVERITY_STYLES
from attn_cli.reporters.terminal.tables import INDENT, Column, pages, print_table
from attn_cli.reporters.terminal.text import count
from attn_cli.reporters.terminal.watch_totals import SHOWN_METRICS, FindingTotals, ModuleTotals, WatchTotals

_HEADERS = dict(zip(SHOWN_METRICS, ("entropy", "sink", "conf.", "dist."), strict=True))
_MOST_LABELS = 3
_UNITS = {"entropy": "nats", "sink": "from 0 to 1", "conf.": "from 0 to 1", "dist.": "keys"}
_SHAPE = "B, Hq, Sq, Sk"
_MANY = 8  # modules: columns on a second page would stand a screen below the first
_LEAST = ("step", "time", "dist.", "conf.", _SHAPE, "sink", "entropy", "calls")  # what many can do without


def render_watch(totals: WatchTotals, console: Console, *, is_last: bool = True) -> None:
    """Print what all calls so far add up to.

    Args:
        totals: of the calls.
        console: where to.
        is_last: whether no table follows, so that what its columns mean is said.
    """
    canvas = Canvas.on(console)
    if not totals.calls:
        canvas.line(canvas.text("No attention call yet", "dim"))
        return
    modules, spent = count(len(totals.modules), "module"), milliseconds(totals.milliseconds)
    rows = list(totals.modules.values())
    prefix, names, suffix = split_names(list(totals.modules))
    canvas.heading("Attention", f"{count(totals.calls, 'call')} in {modules}, {spent} of inspection")
    if prefix or suffix:
        each = canvas.join([canvas.text("each module is", "dim"), canvas.text(f"{prefix}…{suffix}")])
        canvas.paragraph(each, indent=2, hanging=2)
    columns, left_out = _fewer(canvas, list(_columns(canvas, rows, names)))
    print_table(canvas, columns)
    if left_out:
        said = f"left out at this width, the file has them: {', '.join(left_out).replace(_SHAPE, 'shape')}"
        canvas.paragraph(canvas.text(said, "dim"), indent=2, hanging=2)
    if is_last:
        canvas.paragraph(canvas.text(_legend([column.header.plain for column in columns]), "dim"), indent=2)
    for finding in sorted(totals.findings.values(), key=lambda one: list(SEVERITY_STYLES).index(one.severity)):
        _print_finding(canvas, finding)


def _legend(shown: Sequence[str]) -> str:
    """What the columns that are shown mean, those with the same unit together."""
    by_unit: dict[str, list[str]] = {}
    for name in shown:
        if name in _UNITS:
            by_unit.setdefault(_UNITS[name], []).append(name)
    parts = [" · ".join(f"{', '.join(names)}: {unit}" for unit, names in by_unit.items())]
    parts[0] += "; means over the heads of all calls" if by_unit else ""
    parts += ["heads: how many have which label in all calls"]
    parts += ["time: of inspecting a call, the mean"] if "time" in shown else []
    return " · ".join(part for part in parts if part)


def _fewer(canvas: Canvas, columns: list[Column]) -> tuple[list[Column], list[str]]:
    """The columns of many modules that fit beside each other, and the names of the others; of few modules all."""
    left_out: list[str] = []
    for name in _LEAST if len(columns[0].cells) > _MANY else ():
        if len(pages(columns, canvas.width - INDENT)) == 1:
            break
        columns = [column for column in columns if column.header.plain != name]
        left_out.append(name)
    return columns, left_out


def split_names(names: Sequence[str]) -> tuple[str, list[str], str]:
    """What all dotted names begin with, what is left of each, and what all end with; nothing is left empty."""
    parts = [name.split(".") for name in names]
    least = min(len(one) for one in parts) - 1
    if len(parts) < 2:
        return "", list(names), ""
    begin = _alike(parts, least)
    end = _alike([one[::-1] for one in parts], least - begin)
    first = parts[0]
    prefix = "".join(f"{part}." for part in first[:begin])
    suffix = "".join(f".{part}" for part in first[len(first) - end :])
    return prefix, [".".join(one[begin : len(one) - end]) for one in parts], suffix


def _alike(parts: Sequence[Sequence[str]], most: int) -> int:
    """How many of the first parts all have in common."""
    number = 0
    while number < most and len({one[number] for one in parts}) == 1:
        number += 1
    return number


def _columns(canvas: Canvas, rows: Sequence[ModuleTotals], names: Sequence[str]) -> Iterator[Column]:
    def column(header: str, cells: Iterator[Text], *, right: bool = True, repeat: bool = False) -> Column:
        return Column(canvas.text(header, "dim"), tuple(cells), right=right, repeat=repeat)

    yield column("module", (canvas.text(name, "bold") for name in names), right=False, repeat=True)
    yield column("calls", (canvas.text(row.calls) for row in rows))
    yield column("step", (canvas.text(row.step) for row in rows))
    yield column(_SHAPE, (canvas.text(", ".join(map(str, row.shape))) for row in rows), right=False)
    yield column("time", (canvas.text(milliseconds(row.milliseconds / row.calls)) for row in rows))
    for name in SHOWN_METRICS:
        yield column(_HEADERS[name], _means(canvas, [row.mean(name) for row in rows]))
    yield column("findings", (_findings(canvas, row) for row in rows))
    yield column("heads", (_labels(canvas, row) for row in rows), right=False)


def _means(canvas: Canvas, values: Sequence[float | None]) -> Iterator[Text]:
    """One metric's column, all numbers with as many decimals as the largest bears."""
    largest = max((abs(value) for value in values if value is not None), default=0.0)
    for value in values:
        yield canvas.text("–", "dim") if value is None else canvas.text(decimal(value, largest))


def _labels(canvas: Canvas, row: ModuleTotals) -> Text:
    """``sink 40, mixed 8``, the most frequent first."""
    found = row.labels.most_common()
    texts = [canvas.text(f"{label} {times}", LABEL_STYLES.get(label, "")) for label, times in found[:_MOST_LABELS]]
    more = len(found) - _MOST_LABELS
    return canvas.join([*texts, canvas.text(f"{more} more", "dim")] if more > 0 else texts, ", ")


def _findings(canvas: Canvas, row: ModuleTotals) -> Text:
    """How many calls have the worst severity that there is."""
    for severity in SEVERITY_STYLES:
        if row.findings[severity]:
            return canvas.text(count(row.findings[severity], severity), BAD if severity == "error" else "")
    return canvas.text("–", "dim")


def _print_finding(canvas: Canvas, finding: FindingTotals) -> None:
    """The first of its kind, with its place and how many calls have it."""
    badge = canvas.text(f" {finding.severity} ", SEVERITY_STYLES[finding.severity])
    where = f"in {count(finding.calls, 'call')}, first in {finding.module}, step {finding.step}"
    canvas.paragraph(canvas.join([badge, canvas.text(finding.code, "bold"), where], "  "), indent=1, hanging=2)
    canvas.paragraph(canvas.text(finding.message), indent=3)
