"""Numbers in a few characters. Free of torch."""

from __future__ import annotations


def milliseconds(value: float) -> str:
    """A time with three digits, in the unit that suits it."""
    if value >= 10_000:
        return f"{value / 1000:.1f} s"
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:.{digits}f} ms" if value >= 0.1 else f"{value * 1000:.1f} µs"


def decimal(value: float, largest: float) -> str:
    """``value`` as it stands in a column whose largest number is ``largest``."""
    if largest >= 1e6 or 0 < largest < 0.005:
        return "0" if value == 0 else f"{value:.1e}"
    digits = 2 if largest < 10 else 1 if largest < 100 else 0
    return f"{round(value, digits) + 0.0:.{digits}f}"
