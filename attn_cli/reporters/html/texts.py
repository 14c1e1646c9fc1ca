"""The words of a page: tokens once for all calls, and every text as harmless as the terminal's."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from attn_cli.reporters.terminal.header import source_name
from attn_cli.reporters.terminal.text import harmless, shorten, token_text

LONGEST_TOKEN = 48
Texts = Sequence[str]


class TokenLists:
    """The distinct lists of tokens of several calls; a list that begins as another does is that one."""

    def __init__(self) -> None:
        self._lists: list[Texts] = []

    def number(self, texts: Texts) -> int:
        """The number of a list; it may be longer than ``texts``."""
        for number, known in enumerate(self._lists):
            shared = min(len(known), len(texts))
            if known[:shared] == texts[:shared]:
                self._lists[number] = max(known, texts, key=len)
                return number
        self._lists.append(texts)
        return len(self._lists) - 1

    def shown(self) -> list[list[str]]:
        """The tokens of each list as they are shown."""
        return [[shown_token(token) for token in texts] for texts in self._lists]


def file_name(source: str) -> str:
    """A source as people call it, without its folder: a page travels, and folders name people."""
    return PurePath(source_name(source)).name or source_name(source)


def shown_token(token: str) -> str:
    """A token with its spaces visible, harmless, and not too long for a row's name."""
    return shorten(harmless(token_text(token[: 4 * LONGEST_TOKEN])), LONGEST_TOKEN)


def text_size(tokens: Sequence[Texts] | None, rows: Sequence[int]) -> int:
    """Bytes that the tokens of some batch items take, at most as many as they may."""
    if not tokens:
        return 0
    return sum(min(2 * len(token.encode(errors="replace")), LONGEST_TOKEN) + 4 for b in rows for token in tokens[b])


def made_harmless(value: Any) -> Any:
    """``value`` with every text harmless and None for each number that is not finite."""
    if isinstance(value, str):
        return harmless(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, int):  # most of a page, and quickly told
        return value
    if isinstance(value, Mapping):
        return {key: made_harmless(item) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [made_harmless(item) for item in value]
    return value
