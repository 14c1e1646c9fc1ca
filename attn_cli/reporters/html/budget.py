"""How much of what was computed a page tells: less and less, until it fits into its size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from attn_cli.inspection.budget import LEAST

FEW_PAIRS = 3  # strongest pairs that are listed of a head where room is short


@dataclass(frozen=True)
class Level:
    """How much of what was computed a page tells.

    Attributes:
        shrink: rows and columns of cells of the pictures that become one; a picture keeps LEAST of each.
        windows: ``"all"``, ``"few"`` (around the strongest pair alone) or ``"none"``.
        pairs: strongest pairs that are listed of a head at most; None lists all that were found.
    """

    shrink: int
    windows: str
    pairs: int | None = None


def levels(largest: int) -> Iterator[Level]:
    """From all to the least, for pictures whose longest side has ``largest`` cells."""
    yield Level(1, "all")
    yield Level(1, "few")
    yield Level(2, "few", FEW_PAIRS)
    shrink = 2
    while largest / shrink > LEAST:
        yield Level(shrink, "none", FEW_PAIRS)
        shrink *= 2
    yield Level(shrink, "none", FEW_PAIRS)
