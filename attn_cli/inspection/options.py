"""What an inspection is asked for. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class InspectOptions:
    """What to measure besides the metrics, and how finely.

    Attributes:
        top: how many of the strongest query → key pairs to keep for each head.
        weights: whether to return all weights, ``(B, Hq, Sq, Sk)``.
        similarity: whether to compare every two heads.
        picture_rows, picture_columns: cells of a head's picture at most.
        block_rows: query rows of a tile; None chooses what the device computes best. It changes no result but for
            rounding.
        block_keys: keys of a tile, in the same way.
    """

    top: int = 3
    weights: bool = False
    similarity: bool = False
    picture_rows: int = 64
    picture_columns: int = 64
    block_rows: int | None = None
    block_keys: int | None = None
