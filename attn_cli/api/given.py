"""What a program may pass where the command line has a flag, and the one form it is brought to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np
from torch import Tensor

Array = Tensor | np.ndarray[Any, np.dtype[Any]]
Texts = Sequence[str] | Sequence[Sequence[str]]
Numbers = int | Sequence[int]
Lengths = Sequence[int] | Sequence[Sequence[int]]
Align = Literal["bottom-right", "top-left"]


def numbers(chosen: Numbers | None) -> tuple[int, ...] | None:
    """One number or several of a selection; each once, in the order given."""
    if chosen is None:
        return None
    return (chosen,) if isinstance(chosen, int) else tuple(dict.fromkeys(chosen))


def sides(window: int | tuple[int, int] | None) -> tuple[int, int] | None:
    """A window's two sides; one number is both, as in ``--window``."""
    return (window, window) if isinstance(window, int) else window


def lengths(given: Lengths | None) -> tuple[int, ...] | tuple[tuple[int, ...], ...] | None:
    """Valid lengths: one a batch item, or a row of them a batch item."""
    if given is None:
        return None
    rows = [tuple(row) for row in given if isinstance(row, Iterable)]
    return tuple(rows) if rows else tuple(length for length in given if isinstance(length, int))
