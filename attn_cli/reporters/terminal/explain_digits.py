"""The digits of an explanation: as many as make each printed line follow from the lines above it.

A number that is read off is printed as fine as what is formed from it needs; a number that is formed from printed ones
is printed no finer than their rounding allows, and to six significant digits at most where nothing needs more.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

DIGITS = 6
LOGIT_UNIT = 1e-6  # a millionth of a logit is a millionth of its exponential
GIVEN_DIGITS = 10
_MOST_DIGITS = 13  # of float64's 15
_MOST_DECIMALS = 10
_LARGEST_FIXED = 1e9
_FINEST, _COARSEST = -323, 308  # exponents of the smallest and the largest power of ten that float64 has
_HUGE = 1e15  # float64 has no digit behind the point from here on: a mask constant, or a broken number


@dataclass(frozen=True)
class Shown:
    """A number as it is printed.

    Attributes:
        value: the number.
        unit: what one step of its last printed digit is worth; 0 where it is printed as it is.
    """

    value: float
    unit: float = 0.0

    @property
    def error(self) -> float:
        """How far what is printed may be from the number."""
        if not self.is_finite or not self.value:
            return 0.0
        if self.unit and not abs(self.value) >= _HUGE:
            return self.unit / 2
        return abs(float(self.text) - self.value)

    @property
    def is_finite(self) -> bool:
        """False for NaN and the infinities."""
        return math.isfinite(self.value)

    @property
    def text(self) -> str:
        """As it stands alone or in a table."""
        value = self.value
        if math.isnan(value):
            return "NaN"
        if math.isinf(value):
            return "∞" if value > 0 else "−∞"
        if value == 0:
            return "0"
        if abs(value) >= _HUGE:
            return f"{value:.{DIGITS}g}"
        if not self.unit:
            return f"{value:.{GIVEN_DIGITS}g}"
        decimals = max(0, -round(math.log10(self.unit)))
        if decimals > _MOST_DECIMALS or abs(value) >= _LARGEST_FIXED or self.unit > 1:
            return f"{value:.{max(0, _exponent(value) - round(math.log10(self.unit)))}e}"
        return f"{value:.{decimals}f}"

    @property
    def operand(self) -> str:
        """As it stands behind a sign: a negative number in brackets."""
        return f"({self.text})" if self.text.startswith(("-", "−")) else self.text


def given(value: float) -> Shown:
    """A setting, such as the scale, in ten significant digits at most."""
    return Shown(value)


def read_off(value: float, unit: float) -> Shown:
    """A number that stands for itself, no finer than float64 can tell."""
    return Shown(value, max(unit, significant([value], _MOST_DIGITS)))


def formed(value: float, error: float, unit: float | None = None) -> Shown:
    """A number that a reader can form from printed ones.

    Args:
        value: the number.
        error: how far what is formed from the printed numbers may be from it.
        unit: the finest last digit it may have; six significant digits by default.
    """
    wanted = significant([value]) if unit is None else unit
    return Shown(value, max(wanted, power_above(error)))


def significant(values: Iterable[float], digits: int = DIGITS) -> float:
    """The last digit's unit that gives the largest of these so many digits."""
    largest = largest_of(values)
    return 10.0 ** max(_FINEST, _exponent(largest) - digits + 1) if largest else 10.0**-digits


def largest_of(values: Iterable[float]) -> float:
    """The largest size among the finite ones, 0 where there is none."""
    return max((abs(value) for value in values if math.isfinite(value)), default=0.0)


def power_below(x: float) -> float:
    """The largest power of ten that is not above ``x``, which is not below 0; the smallest that there is for 0."""
    if not 0 < x < math.inf:
        return 10.0 ** (_COARSEST if x > 0 else _FINEST)
    return 10.0 ** max(_FINEST, math.floor(math.log10(x) + 1e-12))


def power_above(x: float) -> float:
    """The smallest power of ten that is not below ``x``; 0 for what is not a positive number."""
    return 10.0 ** min(_COARSEST, math.ceil(math.log10(x) - 1e-12)) if 0 < x < math.inf else 0.0


def _exponent(value: float) -> int:
    return math.floor(math.log10(abs(value)))
