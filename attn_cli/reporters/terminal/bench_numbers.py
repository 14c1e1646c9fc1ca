"""The figures of a benchmark in a few characters, the same in every format."""

from __future__ import annotations

import math

from attn_cli.benchmark.types import BenchCase

UNKNOWN = "–"
_SIZES = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def short(value: float | None) -> str:
    """Three digits: ``0.0123``, ``1.23``, ``123``; a dash where it is unknown."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    if value == 0:
        return "0"
    digits = 2 - math.floor(math.log10(abs(value)))
    if digits > 6 or digits < -5:
        return f"{value:.1e}"
    return f"{value:.{max(0, digits)}f}"


def percent(share: float | None) -> str:
    """A share from 0 to 1, ``12 %``."""
    if share is None or not math.isfinite(share):
        return UNKNOWN
    return f"{share * 100:.1f}%" if abs(share) < 0.0995 else f"{share * 100:.0f}%"


def size(number: int | None) -> str:
    """Bytes in the unit that suits them, ``12.3 MiB``."""
    if number is None:
        return UNKNOWN
    value, unit = float(number), 0
    while value >= 999.5 and unit < len(_SIZES) - 1:
        value, unit = value / 1024, unit + 1
    return f"{number} B" if unit == 0 else f"{short(value)} {_SIZES[unit]}"


def rate(per_second: float | None, unit: str) -> str:
    """``1.23 TFLOP/s``, ``12.3 GB/s``: a rate with the prefix that suits it."""
    if per_second is None or not math.isfinite(per_second):
        return UNKNOWN
    for factor, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M")):
        if per_second >= factor or factor == 1e6:
            return f"{short(per_second / factor)} {prefix}{unit}"
    raise AssertionError("unreachable")


def ratio(value: float) -> str:
    """A ratio near 1."""
    return f"{value:.3f}" if math.isfinite(value) else UNKNOWN


def error_text(value: float | None) -> str:
    """A largest difference; a dash where nothing was compared."""
    if value is None or math.isnan(value):
        return UNKNOWN
    return f"{value:.1e}" if value else "0"


def exponent(value: float | None) -> str:
    """``length^2.0``."""
    return UNKNOWN if value is None or not math.isfinite(value) else f"length^{value:.2f}"


def case_parts(case: BenchCase) -> tuple[str, ...]:
    """What a case is, in parts that a line is made of."""
    heads = str(case.heads) if case.heads == case.kv_heads else f"{case.heads}/{case.kv_heads}"
    return (
        f"batch {case.batch}",
        f"heads {heads}",
        f"{case.queries} × {case.keys}",
        f"D {case.head_dim}",
        case.dtype,
        *(("causal",) if case.causal else ()),
        case.mode,
    )
