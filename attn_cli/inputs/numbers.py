"""How numbers are written, in options and in metadata."""

from __future__ import annotations

import re

WHOLE = re.compile(r"[+-]?[0-9]+")
REAL = re.compile(r"[+-]?(?:(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:e[+-]?[0-9]+)?|inf|nan)", re.IGNORECASE | re.ASCII)
MOST_CELLS = 1_000_000


def whole(text: str) -> int:
    """A whole number in plain digits with or without a sign, which ``1_0`` and digits of other scripts are not.

    Raises:
        ValueError: where the text is none, or one of more digits than Python reads.
    """
    if WHOLE.fullmatch(text) is None:
        raise ValueError(text)
    return int(text)


def real(text: str) -> float:
    """A number in plain digits with or without sign, point and exponent, ``inf`` or ``nan``.

    Raises:
        ValueError: where the text is none.
    """
    if REAL.fullmatch(text) is None:
        raise ValueError(text)
    return float(text)


def cells(text: str) -> int | None:
    """How wide or high a terminal is by an environment variable, in plain digits; None where that is no size."""
    is_plain = text.isascii() and text.isdecimal() and len(text) <= len(str(MOST_CELLS))
    return int(text) if is_plain and 1 <= int(text) <= MOST_CELLS else None
