"""Which keys the rows of an area reach, kept as whole numbers in NumPy: it is asked for with every block."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attn_cli.attention.masks import MaskRule
from attn_cli.inspection.areas import Area


@dataclass(frozen=True)
class Reach:
    """The keys that the rows of a block reach, and where the rows are.

    Attributes:
        first, behind: the first key that any row sees, before ``keep``, and the one behind the last.
        latest_first, earliest_behind: between these every row sees every key.
        least_place, largest_place: the range of the aligned places, no farther from the keys than next to them.
    """

    first: int
    behind: int
    latest_first: int
    earliest_behind: int
    least_place: int
    largest_place: int

    def covers(self, keys: slice) -> bool:
        """Whether every row sees every one of these keys."""
        return bool(self.latest_first <= keys.start and keys.stop <= self.earliest_behind)

    def side(self, keys: slice) -> int:
        """1 where all keys lie at or before every place, −1 where all lie at or behind, 0 where places are between."""
        if self.least_place >= keys.stop - 1:
            return 1
        return -1 if self.largest_place <= keys.start else 0


@dataclass(frozen=True)
class Spans:
    """The interval of keys of every query row, before ``keep``.

    Attributes:
        first, behind: first visible key and the one behind the last, ``(B or 1, Sq)``.
        places: the aligned place of each query, ``(Sq,)``.
        follow_one_another: whether each row's place is the next one's less 1, and intervals move along with places.
    """

    first: NDArray[np.int64]
    behind: NDArray[np.int64]
    places: NDArray[np.int64]
    follow_one_another: bool

    @classmethod
    def of(cls, mask: MaskRule) -> Spans:
        """The spans of all rows."""
        first, behind = (x[:, 0].cpu().numpy() for x in mask.interval())
        places = mask.places.cpu().numpy()
        return cls(first, behind, places, mask.valid_lens is None and bool((np.diff(places) == 1).all()))

    def work(self, area: Area) -> int:
        """Scores that the area needs, for the order of the items and the progress."""
        first, behind = self._rows(area)
        batch, heads, rows = area.shape
        return heads * (batch // len(first)) * int((behind - first).sum() + rows)

    def reach(self, area: Area) -> Reach:
        """What the rows of an area reach."""
        first, behind = self._rows(area)
        places = self.places[area.rows]
        some = behind > first
        if self.follow_one_another and some[0, 0] and some[0, -1]:
            low, high = first[0], behind[0]  # both rise with the places
            ends = min(places[0], high[-1]), max(places[-1], 0)
            return Reach(*(int(x) for x in (low[0], high[-1], low[-1], high[0], *ends)))
        sees = bool(some.any())
        last = int(behind[some].max()) if sees else 0
        return Reach(
            first=int(first[some].min()) if sees else 0,
            behind=last,
            latest_first=int(first.max()),
            earliest_behind=int(behind.min()),
            least_place=min(int(places.min()), last),
            largest_place=max(int(places.max()), 0),
        )

    def rows_of(self, area: Area, keys: slice) -> tuple[int, int]:
        """The first row of the area that sees a key of some, and the one behind the last, counted in the area."""
        first, behind = self._rows(area)
        see = ((behind > keys.start) & (first < keys.stop) & (behind > first)).any(axis=0).nonzero()[0]
        return (int(see[0]), int(see[-1]) + 1) if len(see) else (0, 0)

    def _rows(self, area: Area) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        batch = slice(None) if len(self.first) == 1 else area.batch
        return self.first[batch, area.rows], self.behind[batch, area.rows]
