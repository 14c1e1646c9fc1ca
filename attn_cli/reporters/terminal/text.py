"""Text from files made harmless: what is shown is characters with a width, never an instruction to the terminal."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from rich.cells import cell_len

_NAMED = {"\n": r"\n", "\t": r"\t", "\r": r"\r"}
_MARKS_IN_A_ROW = 2
LONGEST = 10_000  # characters of a text that are shown
_COMBINING_GRAPHEME_JOINER = "\u034f"
_ASCII = {
    "·": "*",
    "×": "x",
    "→": "->",
    "←": "<-",
    "−": "-",
    "–": "-",
    "—": "-",
    "…": "...",
    "√": "sqrt",
    "∞": "inf",
    "≤": "<=",
    "≥": ">=",
    "≈": "~",
    "±": "+-",
    "Σ": "sum",
    "∑": "sum",
    "‖": "||",
    "σ": "sigma",
    "α": "alpha",
    "ᵀ": "^T",
    "²": "^2",
    "ᵢ": "_i",
    "ⱼ": "_j",
    "ₕ": "_h",
    "₀": "_0",
    "₁": "_1",
    "₂": "_2",
    "ₒ": "_o",
    "✓": "ok",
    "✗": "x",
    "␣": "_",
    "│": "|",
    "µ": "u",
    "‘": "'",
    "’": "'",
    "“": '"',
    "”": '"',
}


def harmless(value: str, ascii_only: bool = False) -> str:
    r"""``value`` with everything that is not a visible character of a known width written out, such as ``\x1b``.

    That is: control characters, escape sequences, line breaks, tabs, overrides of the writing direction, characters
    without width, lone surrogates and code points that mean nothing. Combining marks stay on a letter, a few of them.

    Args:
        value: any text.
        ascii_only: True for a terminal that shows nothing else; signs of ours become their ASCII spelling.
    """
    if value.isascii() and value.isprintable():
        return value
    shown: list[str] = []
    marks = _MARKS_IN_A_ROW
    for character in value:
        is_mark = _is_mark(character)
        marks = marks + 1 if is_mark else 0 if character.isalpha() else _MARKS_IN_A_ROW
        is_kept = marks <= _MARKS_IN_A_ROW if is_mark else _has_width(character)
        if ascii_only:
            shown.append(character if " " <= character <= "~" else _ASCII.get(character) or _escape(character))
        else:
            shown.append(character if is_kept else _escape(character))
    return "".join(shown)


def bounded(value: str, most: int = LONGEST) -> str:
    """``value`` in at most so many characters: a token of a megabyte is not looked through sign by sign."""
    return value if len(value) <= most else f"{value[: most - 3]}..."


def _is_mark(character: str) -> bool:
    """Whether it combines with the letter before it; variation selectors do not count, for terminals disagree."""
    is_selector = "\ufe00" <= character <= "\ufe0f" or "\U000e0100" <= character <= "\U000e01ef"
    if is_selector or character == _COMBINING_GRAPHEME_JOINER:
        return False
    return unicodedata.category(character) in ("Mn", "Me") and cell_len(character) == 0


def _has_width(character: str) -> bool:
    return character.isprintable() and cell_len(character) > 0


def _escape(character: str) -> str:
    code = ord(character)
    if character in _NAMED:
        return _NAMED[character]
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def shorten(value: str, limit: int, ellipsis: str = "…") -> str:
    """``value`` in at most ``limit`` cells; what was taken off its end is replaced by ``ellipsis`` (one cell)."""
    if cell_len(value) <= limit:
        return value
    if limit <= 0:
        return ""
    kept = value[: limit - 1]
    while cell_len(kept) > limit - 1:
        kept = kept[:-1]
    return kept + ellipsis


def token_text(value: str) -> str:
    """A token with its spaces visible; still to be made harmless."""
    return value.replace(" ", "␣") or "''"


def count(number: int, noun: str) -> str:
    """``1 finding``, ``2 findings``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def compact(number: int) -> str:
    """A row's or key's number in at most four characters: ``9999``, ``12k``, ``1.2M``."""
    if number < 10_000:
        return str(number)
    return f"{number // 1000}k" if number < 1_000_000 else f"{number / 1e6:.1f}M"


def ranges(numbers: Sequence[int]) -> str:
    """``[0, 3, 4, 5]`` as ``0,3-5``."""
    parts: list[str] = []
    first = 0
    for i in range(1, len(numbers) + 1):
        if i < len(numbers) and numbers[i] == numbers[i - 1] + 1:
            continue
        parts.append(str(numbers[first]) if i - first == 1 else f"{numbers[first]}-{numbers[i - 1]}")
        first = i
    return ",".join(parts)
