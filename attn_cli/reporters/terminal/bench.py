"""A benchmark as text: the machine, a table a case, growth, the comparison with a baseline, and doubts."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from rich.console import Console
from rich.text import Text

from attn_cli.benchmark.types import BenchReport, Peaks
from attn_cli.reporters.terminal.bench_cases import print_cases
from attn_cli.reporters.terminal.bench_compared import print_comparison
from attn_cli.reporters.terminal.bench_growth import print_growth
from attn_cli.reporters.terminal.bench_numbers import UNKNOWN, rate, size
from attn_cli.reporters.terminal.canvas import Canvas
from attn_cli.reporters.terminal.palette import SEVERITY_STYLES
from attn_cli.reporters.terminal.text import count

Setting = str | int | float | bool | None

_WIDEST = 36
_OF_GPUS = ("driver", "cuda", "cudnn", "allow_tf32", "cudnn_allow_tf32", "governor")  # the last is of some CPUs
_UNITS: dict[str, Callable[[float], str]] = {
    "_bytes": lambda value: size(round(value)),
    "_mhz": lambda value: f"{value:.0f} MHz",
    "_watts": lambda value: f"{value:.0f} W",
}


def render_bench(report: BenchReport, console: Console) -> None:
    """Print what a benchmark measured.

    Args:
        report: whole, or what there was when it was interrupted.
        console: its width, colours and encoding decide how tables are paged and growth is drawn.
    """
    canvas = Canvas.on(console)
    _print_environment(canvas, report)
    print_cases(canvas, report.results)
    print_growth(canvas, report.growth)
    if report.comparison is not None:
        print_comparison(canvas, report.comparison)
    _print_warnings(canvas, report)
    if report.was_interrupted:
        canvas.line()
        canvas.paragraph(canvas.text("Interrupted: this is what was measured until then.", "bold"))


def _print_environment(canvas: Canvas, report: BenchReport) -> None:
    """Everything that the figures depend on; what is unknown is said to be."""
    canvas.line(canvas.text("Machine", "bold"))
    known = [_known(canvas, name, value) for name, value in existing_settings(report.environment).items()]
    canvas.flow([text for text in known if text.cell_len <= _WIDEST])
    for text in known:
        if text.cell_len > _WIDEST:  # one of these would put all others below each other
            canvas.paragraph(text, indent=2, hanging=2)
    canvas.heading("Measured peaks", "in this run: a large matrix product for each dtype, a large copy")
    canvas.flow(_peaks(canvas, report.peaks))


def _known(canvas: Canvas, name: str, value: Setting) -> Text:
    suffix = next((suffix for suffix in _UNITS if name.endswith(suffix)), None)
    said = name if suffix is None or value is None else name.removesuffix(suffix)
    return canvas.join([canvas.text(said.replace("_", " "), "dim"), canvas.text(environment_value(name, value))])


def existing_settings(environment: Mapping[str, Setting]) -> dict[str, Setting]:
    """The environment without what a processor has not, such as a driver; what it has and is unknown is left in."""
    is_cpu = environment.get("device") == "cpu"
    return {
        name: value for name, value in environment.items() if value is not None or not (is_cpu and name in _OF_GPUS)
    }


def environment_value(name: str, value: Setting) -> str:
    """A value of the environment with its unit, which the end of its name says."""
    if value is None:
        return "unknown"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    suffix = next((suffix for suffix in _UNITS if name.endswith(suffix)), None)
    return f"{value:g}" if suffix is None or not math.isfinite(value) else _UNITS[suffix](value)


def _peaks(canvas: Canvas, peaks: Peaks) -> list[Text]:
    known = [(dtype, rate(value, "FLOP/s")) for dtype, value in peaks.flops_per_s.items()]
    known.append(("copy", rate(peaks.bytes_per_s, "B/s")))
    return [
        canvas.join([canvas.text(name, "dim"), canvas.text("unknown" if said == UNKNOWN else said)])
        for name, said in known
    ]


def _print_warnings(canvas: Canvas, report: BenchReport) -> None:
    """What casts doubt on the figures, each with its remedy."""
    if not report.warnings:
        return
    canvas.heading("Warnings", count(len(report.warnings), "warning"))
    for warned in report.warnings:
        badge = canvas.text(" warning ", SEVERITY_STYLES["warning"])
        canvas.paragraph(canvas.join([badge, canvas.text(warned.message)], "  "), indent=1, hanging=2)
        canvas.paragraph(canvas.join([canvas.text("hint:", "bold"), canvas.text(warned.remedy)]), indent=3, hanging=2)
