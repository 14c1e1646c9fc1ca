"""How long a call took, and whether the weights shown are those of the kernel that ran."""

from __future__ import annotations

import math

from attn_cli.benchmark.timing import median_and_iqr
from attn_cli.inspection.types import Verification
from attn_cli.reporters.terminal.canvas import Canvas
from attn_cli.reporters.terminal.figures import milliseconds
from attn_cli.reporters.terminal.findings import place_text
from attn_cli.reporters.terminal.palette import BAD, GOOD
from attn_cli.reporters.terminal.text import count
from attn_cli.results import RunTiming


def print_timing(canvas: Canvas, timing: RunTiming) -> None:
    """Load, device copy, attention and inspection, in milliseconds."""
    canvas.heading("Time")
    texts = [canvas.join([canvas.text(name, "dim"), canvas.text(value)]) for name, value in timing_texts(timing)]
    canvas.paragraph(canvas.join(texts, " · "), indent=2, hanging=2)


def timing_texts(timing: RunTiming) -> list[tuple[str, str]]:
    """Each step's name and its time in words."""
    parts = [("load", milliseconds(timing.load)), ("to device", milliseconds(timing.to_device))]
    return [*parts, ("attention", attention_time(timing.attention)), ("inspection", milliseconds(timing.inspection))]


def attention_time(samples: tuple[float, ...]) -> str:
    """Median, spread and number of the runs."""
    median, iqr = median_and_iqr(samples)
    spread = "" if iqr is None else f"IQR {milliseconds(iqr)}, "
    return f"{milliseconds(median)} ({spread}{count(len(samples), 'run')})"


def print_verification(canvas: Canvas, verification: Verification) -> None:
    """Whether the weights shown times V are the kernel's output."""
    agrees = verification.holds
    mark = canvas.text("✓" if agrees else "✗", GOOD if agrees else BAD)
    said = canvas.text(verification_text(verification), "" if agrees else BAD)
    canvas.paragraph(canvas.join([mark, said]), indent=2, hanging=2)


def verification_text(verification: Verification) -> str:
    """Whether the weights shown times V are the kernel's output, in words."""
    return _agreement(verification) if verification.holds else _disagreement(verification)


def _agreement(verification: Verification) -> str:
    if math.isnan(verification.max_abs_error):
        return f"neither the weights shown × V nor the output of {verification.against} hold a finite value"
    error = f"{verification.max_abs_error:.1e}" if verification.max_abs_error else "0"
    return f"weights shown × V equal the output of {verification.against} within {error}"


def _disagreement(verification: Verification) -> str:
    against, where = verification.against, place_text(verification.place)
    if verification.disagreements:
        values = count(verification.disagreements, "value")
        return (
            f"weights shown × V and the output of {against}: {values} finite in one of the two only, first at {where}"
        )
    return (
        f"weights shown × V differ from the output of {against} by {verification.max_abs_error:.1e} at {where}; "
        f"its dtype explains {verification.tolerance:.1e}"
    )


def figure(value: float) -> str:
    """A largest difference in a few characters."""
    return "–" if math.isnan(value) else f"{value:.1e}" if value else "0"
