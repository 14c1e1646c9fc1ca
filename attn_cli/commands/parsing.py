"""Option values that are more than a word or a number. Free of torch."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Sequence

from attn_cli.errors import UsageError
from attn_cli.inputs.numbers import real
from attn_cli.inputs.settings import ALIGN, WINDOW
from attn_cli.inputs.text import shown
from attn_cli.inspection.metric_names import METRIC_NAMES
from attn_cli.inspection.options import Zoom

MOST_DIGITS = 12
MOST_BYTES = 2**60
MOST_SELECTED = 2**20  # numbers in a selection: as many query rows as the longest contexts have
MOST_SAID = 60  # characters of an option's value in a message
UNITS = {"": 1, "B": 1, **{f"{sign}B": 1000**power for power, sign in enumerate("KMGT", 1)},
         **{f"{sign}IB": 1024**power for power, sign in enumerate("KMGT", 1)}}  # fmt: skip
SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)")
Lengths = tuple[int, ...] | tuple[tuple[int, ...], ...]


def parse_selection(option: str, text: str | None) -> tuple[int, ...] | None:
    """``"0,3-5"`` to ``(0, 3, 4, 5)``; each number once, in the order given.

    Raises:
        UsageError: where it is no such list.
    """
    if text is None:
        return None
    numbers: dict[int, None] = {}
    said, asked = f"{option} {_said(text)}", 0
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        _check_digits(said, first, last.strip())
        if not _is_number(first) or (dash and not _is_number(last.strip())):
            raise UsageError(f"{said}: found {_quoted(part.strip())}; expected numbers and ranges such as 0,3-5")
        start, stop = int(first), int(last or first)
        if stop < start:
            raise UsageError(f"{said}: found the range {_said(part.strip())}; expected the smaller number first")
        asked += stop - start + 1
        if asked > MOST_SELECTED:
            raise UsageError(f"{said}: found {asked} numbers or more; expected at most {MOST_SELECTED}")
        numbers.update(dict.fromkeys(range(start, stop + 1)))
    return tuple(numbers)


def parse_valid_lens(text: str | None) -> Lengths | None:
    """``"3,2"`` to ``(3, 2)``, one length a batch item; ``"1,2;2,2"`` to ``((1, 2), (2, 2))``, one a query.

    Raises:
        UsageError: where it is no such list, or its rows differ in length.
    """
    if text is None:
        return None
    parts = text.strip().rstrip(";").split(";")
    rows = [tuple(_length(text, number) for number in part.split(",")) for part in parts]
    if ";" not in text:
        return rows[0]
    if len({len(row) for row in rows}) > 1:
        lengths = ", ".join(str(len(row)) for row in rows)
        found = f"found rows of {_said(lengths)} lengths"
        raise UsageError(f"--valid-lens {_said(text)}: {found}; expected one length a query in each")
    return tuple(rows)


def _said(text: str) -> str:
    return shown(text, MOST_SAID)


def _quoted(text: str) -> str:
    return f"'{shown(text, MOST_SAID)}'"


def _is_number(text: str) -> bool:
    """A whole number of a size that a tensor can have."""
    return text.isascii() and text.isdecimal() and len(text) <= MOST_DIGITS


def _check_digits(said: str, *texts: str) -> None:
    """Refuse a number that is whole, but has more digits than any size."""
    for text in texts:
        if text.isascii() and text.isdecimal() and len(text) > MOST_DIGITS:
            raise UsageError(f"{said}: found a number of {len(text)} digits; expected {MOST_DIGITS} at most")


def _length(text: str, number: str) -> int:
    _check_digits(f"--valid-lens {_said(text)}", number.strip())
    if not _is_number(number.strip()):
        raise UsageError(
            f"--valid-lens {_said(text)}: found {_quoted(number.strip())}; expected whole numbers such as 3,2 "
            "(a length a batch item) or 1,2,3;2,2,2 (a row of lengths a batch item)"
        )
    return int(number)


def parse_zoom(text: str | None) -> Zoom | None:
    """``"0:50,100:"`` to a window of 50 query rows and all keys from the 100th.

    Raises:
        UsageError: where it is not a range of query rows and a range of keys, or one of them is empty.
    """
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 2:
        found = f"{len(parts)} range{'s' if len(parts) > 1 else ''}"
        raise UsageError(f"--zoom {_quoted(text)}: found {found}; expected query rows and keys, Q0:Q1,K0:K1")
    said = f"--zoom {_quoted(text)}"
    (first_query, query_stop), (first_key, key_stop) = (_range(said, part, "0:50, 100: or :50") for part in parts)
    return Zoom(first_query, query_stop, first_key, key_stop)


def parse_calls(text: str | None) -> tuple[int, int | None]:
    """``"10:20"`` to (10, 20), ``":20"`` to (0, 20), ``"10:"`` to (10, None).

    Raises:
        UsageError: where it is no such range, or an empty one.
    """
    return (0, None) if text is None else _range(f"--calls {_quoted(text)}", text.strip(), "10:20, 10: or :20")


def _range(said: str, part: str, examples: str) -> tuple[int, int | None]:
    """``"3:7"`` to (3, 7), ``":"`` to (0, None)."""
    first, colon, stop = (side.strip() for side in part.partition(":"))
    _check_digits(said, first, stop)
    if not colon or not all(side == "" or _is_number(side) for side in (first, stop)):
        raise UsageError(f"{said}: found {_quoted(part)}; expected a range such as {examples}")
    if stop and int(stop) <= int(first or 0):
        raise UsageError(f"{said}: found {_quoted(part)}, which is empty; expected a stop above the start")
    return int(first or 0), int(stop) if stop else None


def parse_window(text: str | None) -> tuple[int, int] | None:
    """``"LEFT,RIGHT"``, or ``"LEFT"`` for as many keys on the right; −1 is unlimited.

    Raises:
        UsageError: where it is not one or two whole numbers from −1.
    """
    return None if text is None else WINDOW.parse_flag(text)


def parse_align(text: str | None, option: str = ALIGN.flag) -> str | int | None:
    """``"bottom-right"``, ``"top-left"`` or a whole number.

    Raises:
        UsageError: where it is none of these.
    """
    try:
        return None if text is None else ALIGN.parse_flag(text)
    except UsageError as error:
        raise UsageError(f"{option}{error.message.removeprefix(ALIGN.flag)}", error.hint) from error


def parse_sizes(option: str, text: str | None) -> tuple[int, ...] | None:
    """``"512,1024"`` to ``(512, 1024)``; each number once, in the order given.

    Raises:
        UsageError: where it is no list of whole numbers from 1.
    """
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    for part in parts:
        _check_digits(f"{option} {_said(text)}", part)
        if not _is_number(part) or int(part) < 1:
            found = f"found {_quoted(part)}"
            raise UsageError(f"{option} {_said(text)}: {found}; expected whole numbers from 1, such as 512,1024")
    return tuple(dict.fromkeys(int(part) for part in parts))


def parse_names(option: str, text: str | None, known: Sequence[str]) -> tuple[str, ...] | None:
    """``"sdpa,flash"`` to ``("sdpa", "flash")``; each name once, in the order given.

    Raises:
        UsageError: where one of the names is not known.
    """
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    for part in parts:
        if part not in known:
            near = difflib.get_close_matches(part, known, n=1)
            hint = f"did you mean {near[0]}?" if near else None
            found = f"found {_quoted(part)}"
            raise UsageError(f"{option} {_said(text)}: {found}; expected a list of {', '.join(known)}", hint)
    return tuple(dict.fromkeys(parts))


def parse_metric(text: str | None, sort: str | None) -> str | None:
    """The name of one metric.

    Args:
        text: what ``--metric`` says.
        sort: what ``--sort`` says, which asks for a metric.

    Raises:
        UsageError: where there is none of that name, or none to sort by.
    """
    if text is None:
        if sort is not None:
            expected = "found no --metric; expected --metric NAME to sort by"
            raise UsageError(f"--sort {sort}: {expected}", "add one, such as --metric entropy")
        return None
    name = text.strip()
    if name not in METRIC_NAMES:
        near = difflib.get_close_matches(name, METRIC_NAMES, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]}?" if near else None
        found = f"found {_quoted(name)}"
        raise UsageError(f"--metric {_said(text)}: {found}; expected one of {', '.join(METRIC_NAMES)}", hint)
    return name


def parse_codes(option: str, text: str | None, known: Sequence[str]) -> tuple[str, ...] | None:
    """``"attn001,ATTN01"`` to the code ATTN001 and all that begin with ATTN01, in the order of ``known``.

    Raises:
        UsageError: where no code is, or begins as, one of the parts.
    """
    if text is None:
        return None
    starts = [part.strip().upper() for part in text.split(",")]
    for start in starts:
        if not start or not any(code.startswith(start) for code in known):
            expected = f"expected codes or their beginnings, of {', '.join(known)}"
            hint = "attn check --rule all lists them by name"
            raise UsageError(f"{option} {_said(text)}: found {_quoted(start)}; {expected}", hint)
    return tuple(code for code in known if code.startswith(tuple(starts)))


def parse_share(option: str, text: str | None) -> float | None:
    """``"5%"`` and ``"0.05"`` to 0.05.

    Raises:
        UsageError: where it is neither a percentage nor a fraction, or not from 0 to below 100 %.
    """
    if text is None:
        return None
    number = text.strip()
    try:
        share = real(number.removesuffix("%").rstrip()) / (100 if number.endswith("%") else 1)
    except ValueError:
        share = math.nan
    if not 0 <= share < 1:
        expected = "expected a percentage below 100% such as 5%, or a fraction such as 0.05"
        raise UsageError(f"{option} {_said(text)}: {expected}")
    return share


def parse_bytes(option: str, text: str) -> int:
    """``"2GiB"``, ``"500 MB"`` or ``"1048576"`` to a number of bytes.

    Raises:
        UsageError: where it is no size.
    """
    match = SIZE.fullmatch(text.strip())
    unit = None if match is None else UNITS.get(match[2].upper())
    if match is None or unit is None:
        raise UsageError(f"{option} {_quoted(text)}: expected a size such as 2GiB, 500MB or 1048576")
    size = float(match[1]) * unit
    if not 1 <= size <= MOST_BYTES:
        raise UsageError(f"{option} {_quoted(text)}: expected a size from 1 byte to {MOST_BYTES >> 60} EiB")
    return int(size)
