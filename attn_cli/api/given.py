"""What a program may pass where the command line has a flag, and the one form it is brought to."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from typing import Any, SupportsIndex

import numpy as np
from torch import Tensor

from attn_cli.errors import UsageError
from attn_cli.inputs.text import shown

Array = Tensor | np.ndarray[Any, np.dtype[Any]]
Texts = Sequence[str] | Sequence[Sequence[str]]
Numbers = SupportsIndex | Iterable[SupportsIndex]  # arrays and tensors are both
Lengths = Iterable[SupportsIndex] | Iterable[Iterable[SupportsIndex]]
Window = SupportsIndex | tuple[SupportsIndex, SupportsIndex] | Array

WHOLE = "a whole number"


def whole(name: str, given: object) -> int:
    """A whole number of Python's, NumPy's or torch's; True and 3.0 are none.

    Args:
        name: of the argument.
        given: for it.

    Raises:
        UsageError: where it is something else.
    """
    plain = _plain(given)
    if isinstance(plain, bool) or not isinstance(plain, SupportsIndex):
        raise _refused(name, plain, WHOLE)
    return operator.index(plain)


def whole_or_none(name: str, given: object | None) -> int | None:
    """The same, where nothing may be given.

    Raises:
        UsageError: where it is no whole number.
    """
    return None if given is None else whole(name, given)


def numbers(name: str, chosen: Numbers | None) -> tuple[int, ...] | None:
    """One number or several of a selection; each once, in the order given.

    Raises:
        UsageError: where one is no whole number.
    """
    if chosen is None:
        return None
    several = _several(chosen)
    return (whole(name, chosen),) if several is None else tuple(dict.fromkeys(whole(name, one) for one in several))


def sides(window: Window | None) -> tuple[int, int] | None:
    """A window's two sides; one number is both, as in ``--window``.

    Raises:
        UsageError: where they are not one or two whole numbers.
    """
    if window is None:
        return None
    several = _several(window)
    both = [window, window] if several is None else [*several]
    if len(both) != 2:
        raise _refused("window", both, "one or two whole numbers")
    return whole("window", both[0]), whole("window", both[1])


def alignment(given: str | SupportsIndex | None) -> str | int | None:
    """Where causal order and windows are aligned: a word, or a place.

    Raises:
        UsageError: where it is neither.
    """
    return given if isinstance(given, str) else whole_or_none("causal_align", given)


def lengths(given: Lengths | None) -> tuple[int, ...] | tuple[tuple[int, ...], ...] | None:
    """Valid lengths: one a batch item, or a row of them a batch item.

    Raises:
        UsageError: where they are something else, or rows differ in length.
    """
    if given is None:
        return None
    name, items = "valid_lens", _several(given)
    if not items:
        raise _refused(name, [] if items is not None else _plain(given), "a length a batch item, or a row of them")
    rows = [_several(item) for item in items]
    if rows[0] is None:
        return tuple(whole(name, item) for item in items)
    if any(row is None for row in rows):
        raise _refused(name, items[rows.index(None)], "a row of lengths, one a query, as of the first batch item")
    found = [tuple(whole(name, one) for one in row or ()) for row in rows]
    if len({len(row) for row in found}) > 1:
        sizes = ", ".join(str(len(row)) for row in found)
        raise UsageError(f"{name}: found rows of {sizes} lengths; expected one length a query in each")
    return tuple(found)


def _plain(given: object) -> object:
    """Tensors and arrays as Python's numbers, or as lists of them; all else as it is."""
    return given.tolist() if isinstance(given, (Tensor, np.ndarray, np.generic)) else given


def _several(given: object) -> list[object] | None:
    """The entries of a list, an array or the like; None of a single value."""
    plain = _plain(given)
    return list(plain) if isinstance(plain, Iterable) and not isinstance(plain, (str, bytes)) else None


def _refused(name: str, found: object, expected: str) -> UsageError:
    return UsageError(f"{name} {shown(repr(found), 60)}: expected {expected}")
