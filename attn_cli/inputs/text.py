"""Text out of files, made fit to stand in a message."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from attn_cli.inputs.types import TensorInfo

LONGEST_NAME = 120
LONGEST_REASON = 160
ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")  # where an object lies: in every process elsewhere


def shown(text: str, limit: int = LONGEST_NAME) -> str:
    """``text`` on one line without control characters, cut at ``limit`` characters."""
    if len(text) > limit:
        text = f"{text[: limit - 1]}…"
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def reason_of(error: BaseException) -> str:
    """What a library says is wrong, in one line that is the same in every process; without words, the error's name."""
    said = ADDRESS.sub("", str(error).strip().split("\n")[0])
    return shown(said, LONGEST_REASON) or type(error).__name__


def few(names: Iterable[str], limit: int = 8) -> str:
    """The names with commas, the first ``limit`` of them and how many more there are."""
    listed = list(names)
    more = f" and {len(listed) - limit} more" if len(listed) > limit else ""
    return ", ".join(shown(name) for name in listed[:limit]) + more


def spans(numbers: Iterable[int], limit: int = 8) -> str:
    """``"0-3, 7"`` for 0, 1, 2, 3 and 7: each number once, in ascending order, at most ``limit`` runs of them."""
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return few((str(first) if first == last else f"{first}-{last}" for first, last in runs), limit)


def contents(names: Sequence[str], info_of: Callable[[str], TensorInfo], limit: int = 20) -> str:
    """A table of tensors, one a line: name, shape, dtype; at most ``limit`` lines, then how many more there are."""
    if not names:
        return "  no tensors"
    infos = [info_of(name) for name in names[:limit]]
    rows = [(shown(info.name), str(info.shape), shown(info.dtype)) for info in infos]
    widths = [max((len(row[column]) for row in rows), default=0) for column in (0, 1)]
    lines = [f"  {name:<{widths[0]}}  {shape:<{widths[1]}}  {dtype}" for name, shape, dtype in rows]
    more = [f"  and {len(names) - limit} more"] if len(names) > limit else []
    return "\n".join([*lines, *more])


def bytes_text(size: float) -> str:
    """``"12.3 GiB"``."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB", "PiB"):
        if size < 1024:
            return f"{size:.3g} {unit}"
        size /= 1024
    return f"{size:.3g} EiB"


def describe(info: TensorInfo) -> str:
    """``name is (4, 12, 18, 32) float32``: how every message about one tensor begins."""
    return f"{shown(info.name)} is {info.shape} {shown(info.dtype)}"
