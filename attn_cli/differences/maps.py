"""Where differences sit: every head as a small picture of |left − right|, max-pooled."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from attn_cli.differences.types import DifferenceMap
from attn_cli.inspection.pictures import max_pool


@dataclass(frozen=True)
class MapSize:
    """How many rows and columns of cells a head's picture may have."""

    rows: int
    columns: int


class MapBuilder:
    """Builds the pictures of all heads from blocks of rows.

    Args:
        heads: how many.
        rows, columns: of a head.
        size: what a picture may take.
        device: where blocks are compared.
    """

    def __init__(self, heads: int, rows: int, columns: int, size: MapSize, device: torch.device) -> None:
        self._row_pool = max(1, math.ceil(rows / size.rows))
        self._column_pool = max(1, math.ceil(columns / size.columns))
        cells = math.ceil(rows / self._row_pool), math.ceil(columns / self._column_pool)
        self._cells = torch.zeros(heads, *cells, dtype=torch.float32, device=device)

    def add(self, heads: slice, first_row: int, gap: Tensor) -> None:
        """Take in |left − right| of some rows, ``(h, r, columns)``."""
        first, begun = divmod(first_row, self._row_pool)
        pooled = max_pool(max_pool(gap, 2, self._column_pool), 1, self._row_pool, begun)  # (h, cells, C)
        place = (heads, slice(first, first + pooled.shape[1]))
        self._cells[place] = torch.maximum(self._cells[place], pooled.to(self._cells.dtype))

    def result(self, rows: Tensor) -> DifferenceMap:
        """The pictures; ``rows`` ``(R,)`` are the numbers in the whole call."""
        starts: list[int] = rows[:: self._row_pool].tolist()
        return DifferenceMap(self._cells.cpu(), self._row_pool, self._column_pool, tuple(starts))
