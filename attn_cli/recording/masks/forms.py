"""The rules that say exactly what a dense mask says, where there are any.

Of a mask only what :class:`Cells` keeps is needed. A rule that leaves every visible cell visible is the mask itself
where each row has as many visible cells by the one as by the other, and counting needs no cells.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from attn_cli.recording.masks.bands import Band, offset_of
from attn_cli.recording.masks.cells import Cells

NO_BAND = Band()


@dataclass(frozen=True)
class Form:
    """A mask as rules, on the CPU; a cell is visible where all of them leave it so.

    Attributes:
        band: keys that move along with the query.
        valid_lens: ``(b,)`` or ``(b, Sq)`` int64, or None.
        keys: ``(b, 1, 1, Sk)`` bool, keys that each batch item may attend to, or None.
    """

    band: Band = NO_BAND
    valid_lens: Tensor | None = None
    keys: Tensor | None = None


def find_form(cells: Cells, num_queries: int) -> Form | None:
    """The smallest form of a mask, or None where only its cells say it.

    Args:
        cells: of the mask, whose rows are either one for all queries or one a query.
        num_queries: Sq.
    """
    search = _Search(cells)
    bands = [band for band in _bands(cells, num_queries) if band != NO_BAND]
    for band in (NO_BAND, *bands):
        if search.is_band(band):
            return Form(band)
        if band == NO_BAND and search.is_length(band):
            return Form(valid_lens=search.lengths(band))
    for band in bands:
        if search.is_length(band):
            return Form(band, valid_lens=search.lengths(band))
    for band in (NO_BAND, *bands):
        if search.is_key_mask(band):
            return Form(band, keys=search.key_mask(band))
    starts_at_first = torch.equal(cells.count, cells.behind)
    return Form(valid_lens=cells.behind) if starts_at_first else None


def _bands(cells: Cells, num_queries: int) -> Iterator[Band]:
    """Bands that leave every visible cell visible: from below without limit or as narrow as can be."""
    sees = cells.count > 0
    if cells.count.shape[1] == 1 or not bool(sees.any()):
        return
    queries = torch.arange(num_queries)
    low = int((cells.first - queries)[sees].min())
    high = int((cells.behind - 1 - queries)[sees].max())
    usual = (offset_of(align, num_queries, cells.seen.shape[1]) for align in ("bottom-right", "top-left"))
    highs = list(dict.fromkeys((*(offset for offset in usual if offset >= high), high)))
    yield from (Band(None, limit) for limit in highs)
    yield from (Band(low, limit) for limit in highs)


class _Search:
    """Compares what a form leaves visible with a mask, row by row."""

    def __init__(self, cells: Cells) -> None:
        self._cells = cells
        self._num_keys = cells.seen.shape[1]
        self._queries = torch.arange(cells.count.shape[1])
        self._ends = cells.behind.amax(dim=1)  # (b,)
        self._seen_before = torch.nn.functional.pad(cells.seen.cumsum(dim=1), (1, 0))  # (b, k + 1)

    def is_band(self, band: Band) -> bool:
        first, behind = band.spans(self._queries, self._num_keys)
        return self._is_count(behind - first)

    def is_length(self, band: Band) -> bool:
        first, behind = band.spans(self._queries, self._num_keys)
        return self._is_count((torch.minimum(behind, self._ends[:, None]) - first).clamp(min=0))

    def is_key_mask(self, band: Band) -> bool:
        first, behind = band.spans(self._queries, self._num_keys)
        return self._is_count(self._seen_before[:, behind] - self._seen_before[:, first])

    def _is_count(self, count: Tensor) -> bool:
        return torch.equal(count.expand_as(self._cells.count), self._cells.count)

    def lengths(self, band: Band) -> Tensor:
        """``(b,)``: Sk where the band alone hides what lies behind."""
        _, reach = self._reach(band)
        return torch.where(self._ends >= reach, self._num_keys, self._ends)

    def key_mask(self, band: Band) -> Tensor:
        """``(b, 1, 1, k)``; what no query reaches is left visible."""
        first, behind = self._reach(band)
        keys = torch.arange(self._num_keys)
        return (self._cells.seen | (keys < first) | (keys >= behind))[:, None, None]

    def _reach(self, band: Band) -> tuple[int, int]:
        first, behind = band.spans(self._queries, self._num_keys)
        return int(first[0]), int(behind[-1])
