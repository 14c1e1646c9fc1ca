"""A benchmark: how time and memory grow with the length, and how near each backend comes to the measured roofline."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from attn_cli.benchmark.types import BenchReport, BenchResult
from attn_cli.errors import ResourceError
from attn_cli.reporters.figures.growth import MEMORY, TIME, draw_growth, has_points
from attn_cli.reporters.figures.look import COLOURS, MARKS, NORMAL, SMALL, Look
from attn_cli.reporters.figures.roofline import draw_roofline
from attn_cli.reporters.figures.sheet import MARGIN, Sheet, line_height, wrapped
from attn_cli.reporters.terminal.bench_growth import settings_of

_HIGH = 1.75  # inches of a panel's frame
_LEFT, _RIGHT, _BELOW = 0.5, 0.14, 0.32
_WIDE_ENOUGH = 5.0
Drawing = Callable[[Axes], list[Line2D]]


@dataclass(frozen=True)
class _Panel:
    title: str
    more: Sequence[str]
    entries: int
    draw: Drawing


def bench_figure(report: BenchReport, look: Look) -> Figure:
    """Growth panels for each series of cases that differ in their length alone, then a roofline for each dtype.

    Raises:
        ResourceError: where nothing was timed.
    """
    timed = [result for result in report.results if result.ms is not None]
    if not timed:
        raise ResourceError("the figure is not written: no backend was timed", "the report says why")
    panels = [*_growth_panels(report), *_rooflines(report, timed)]
    most = 3 if look.width >= _WIDE_ENOUGH else 1
    across = min(most, len(panels))
    lines = [panels[first : first + across] for first in range(0, len(panels), across)]
    said, pitch = _said(report, look, panels), look.width / across
    room = pitch - _LEFT - _RIGHT
    aboves = [_above(max(len(wrapped(look, one.more, room=room)) for one in line)) for line in lines]
    heights = [above + _below(line) for above, line in zip(aboves, lines, strict=True)]
    sheet = Sheet.of(look, sum(heights) + len(said) * line_height(SMALL) + 2 * MARGIN)
    top = 0.0
    for line, above, height in zip(lines, aboves, heights, strict=True):
        for column, panel in enumerate(line):
            _draw(sheet, panel, column * pitch + _LEFT, top, room, above)
        top += height
    sheet.caption(top + MARGIN, said)
    return sheet.figure


def _above(lines: int) -> float:
    """Inches for a title and so many lines below it."""
    return line_height(NORMAL) + lines * line_height(SMALL) + 2 * MARGIN


def _below(panels: Sequence[_Panel]) -> float:
    """Inches for the frames and the legends below them."""
    return _HIGH + _BELOW + line_height(SMALL) * max(one.entries for one in panels) + 0.1


def _draw(sheet: Sheet, panel: _Panel, inner: float, top: float, room: float, above: float) -> None:
    """The title, the frame, and the legend below it: inside it would cover what is drawn."""
    sheet.text(inner, top + MARGIN, panel.title, NORMAL, weight="bold")
    for number, line in enumerate(wrapped(sheet.look, panel.more, room=room)):
        sheet.text(inner, top + MARGIN + line_height(NORMAL) + number * line_height(SMALL), line, SMALL)
    axes = sheet.axes(inner, top + above, room, _HIGH)
    handles = panel.draw(axes)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(which="major", alpha=0.25, linewidth=0.4)
    where = (inner / sheet.width, 1 - (top + above + _HIGH + _BELOW) / sheet.height)
    sheet.figure.legend(handles=handles, loc="upper left", bbox_to_anchor=where, borderaxespad=0)


def _styles(report: BenchReport) -> dict[str, tuple[str, str]]:
    """A colour and a mark for each backend, the same in every panel."""
    names = dict.fromkeys(result.backend for result in report.results if result.ms is not None)
    return {name: (COLOURS[n % len(COLOURS)], MARKS[n % len(MARKS)]) for n, name in enumerate(names)}


def _growth_panels(report: BenchReport) -> list[_Panel]:
    styles, panels = _styles(report), []
    for settings, group in groupby(sorted(report.growth, key=settings_of), key=settings_of):
        series = list(group)
        for what in (TIME, MEMORY):
            shown = [growth for growth in series if has_points(growth, what)]
            if shown:
                draw = partial(draw_growth, shown=shown, what=what, styles=styles)
                panels.append(_Panel(what.title, settings, len(shown), draw))
    return panels


def _rooflines(report: BenchReport, timed: Sequence[BenchResult]) -> list[_Panel]:
    styles, panels = _styles(report), []
    for dtype in dict.fromkeys(result.case.dtype for result in timed):
        shown = [one for one in timed if one.case.dtype == dtype and one.intensity and one.tflops]
        if shown:
            draw = partial(draw_roofline, shown=shown, peaks=report.peaks, styles=styles)
            more = (dtype, *dict.fromkeys(one.case.mode for one in shown))
            entries = len({one.backend for one in shown}) + any(not one.is_quick for one in shown)
            panels.append(_Panel("roofline, as measured", more, entries, draw))
    return panels


def _said(report: BenchReport, look: Look, panels: Sequence[_Panel]) -> list[str]:
    """Where this was measured, and what needs a word in the panels that are there."""
    known = report.environment
    name, device = known.get("device_name"), known.get("device")
    parts = [str(name or device or ""), str(device) if name and device else ""]
    parts += [f"PyTorch {known['torch']}"] if known.get("torch") else []
    parts += [f"{known['threads']} threads"] if known.get("threads") and device == "cpu" else []
    drawn = {panel.title for panel in panels}
    parts += ["median of all runs" + ("; memory beyond the inputs" if MEMORY.title in drawn else "")]
    parts += ["dashed: the fitted power of the length"] if drawn & {TIME.title, MEMORY.title} else []
    parts += ["interrupted: not everything was measured"] if report.was_interrupted else []
    return wrapped(look, [look.letters.text(part) for part in parts])
