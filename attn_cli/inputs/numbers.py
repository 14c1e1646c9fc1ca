"""How numbers are written, in options and in metadata."""

from __future__ import annotations

import re

WHOLE = re.compile(r"[+-]?[0-9]+")
REAL = re.compile(r"[+-]?(?:(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:e[+-]?[0-9]+)?|inf|nan)", re.IGNORECASE | re.ASCII)


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
