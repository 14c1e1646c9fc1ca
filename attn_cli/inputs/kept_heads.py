"""The query heads of a call that a recording kept, by their numbers in the program."""

from __future__ import annotations

import json
from dataclasses import dataclass

import torch

from attn_cli.attention.types import CallIndex
from attn_cli.inputs.metadata import Metadata
from attn_cli.inputs.settings import METADATA
from attn_cli.inputs.text import shown, spans
from attn_cli.inputs.types import Convention
from attn_cli.inputs.validation import CallSizes

HEADS, TOTAL = "heads", "total_heads"
NAME = "kept heads"
MOST = 2**31
LONGEST = 2**20  # characters; of more heads than there are


@dataclass(frozen=True)
class KeptHeads:
    """Which query heads a file holds.

    Attributes:
        numbers: the original number of each, in the order of the tensors.
        total: how many there were; their numbers are below it.
    """

    numbers: tuple[int, ...]
    total: int

    @property
    def text(self) -> str:
        """``"4, 7 of 12 query heads"``."""
        return f"{spans(self.numbers)} of {self.total} query heads"


def read_kept_heads(metadata: Metadata, sizes: CallSizes) -> tuple[KeptHeads | None, Convention | None]:
    """What the metadata says, and what to tell of it; None where every head is there."""
    said = metadata.parsed(HEADS, kept_numbers)
    if said is None:
        return None, None
    name, numbers = said
    if numbers is not None and len(numbers) != sizes.heads:
        found = f"{len(numbers)} numbers for {sizes.heads} query heads"
        return None, Convention(NAME, f"not used: {shown(name)} has {found}", METADATA)
    total = metadata.find(TOTAL)
    kept = None if numbers is None or total is None else _kept(numbers, total[1])
    if kept is None:
        expected = f"{shown(name)} is no list of head numbers below {TOTAL}"
        return None, Convention(NAME, f"not used: {expected}", METADATA)
    is_whole = len(kept.numbers) == kept.total and kept.numbers == tuple(range(kept.total))
    return (None, None) if is_whole else (kept, Convention(NAME, kept.text, METADATA))


def kept_numbers(text: str) -> tuple[int, ...] | None:
    """The numbers of ``heads`` alone, each from 0 and once; None where it is no such list."""
    if len(text) > LONGEST:
        return None
    try:
        numbers = json.loads(text)
    except (ValueError, RecursionError):
        return None
    is_list = isinstance(numbers, list) and all(type(one) is int and 0 <= one < MOST for one in numbers)
    return tuple(numbers) if is_list and numbers and len(set(numbers)) == len(numbers) else None


def _kept(numbers: tuple[int, ...], total: str) -> KeptHeads | None:
    if not (len(total) <= 10 and total.isascii() and total.isdecimal()):
        return None
    return KeptHeads(numbers, int(total)) if max(numbers) < int(total) < MOST else None


def index_of(sizes: CallSizes, kept: KeptHeads | None) -> CallIndex:
    """Where the rows of a file's call sit in the call of the program."""
    whole = tuple(range(sizes.heads)) if kept is None else kept.numbers
    total = sizes.heads if kept is None else kept.total
    batch = tuple(range(sizes.batch))
    return CallIndex(batch, whole, torch.arange(sizes.queries), sizes.batch, total, sizes.queries)
