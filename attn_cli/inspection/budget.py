"""How much of the weights of several calls fits into a page of a given size, planned from their shapes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from attn_cli.inspection.options import DetailOptions

LEAST = 16  # cells of a side that a picture has at least
LARGEST = 2048  # and at most: more is no picture that a browser would show at once
BYTES_OF_FLOAT = 4 * 4 / 3  # in base64; compression gains little
BYTES_OF_CELL = 0.85  # in base64 and compressed, as measured on random heads
BYTES_OF_MASKED = 0.05  # of each cell or float, also where it is masked
BYTES_OF_BLOB = 60
BYTES_OF_BLOBS = 4 * BYTES_OF_BLOB  # of a head whose weights are all given
BYTES_OF_CALL = 6_000
BYTES_OF_HEAD = 800
BYTES_OF_PAIR = 30
SMALL_PICTURE = 2**14  # cells of a picture that needs no smaller one beside it
BYTES_OF_THUMB = 64 * 64  # at most, in base64 and compressed
SIDES = (96, 64, 48, 32, 24)
WINDOW_PAIRS = 3  # that get a window
LISTED_PAIRS = 10  # of each head, at least


@dataclass(frozen=True)
class CallSize:
    """What of a call is to be shown: the sizes of the selection.

    Attributes:
        batch, heads, queries, keys: B, Hq, Sq, Sk.
        top: strongest pairs that are listed of each head.
        text: bytes that its tokens take.
        visible: the share of the pairs that are visible: masked ones take next to nothing.
        maps: pictures of each head whose weights are not all given; 1.5 where two sides have one of their difference.
    """

    batch: int
    heads: int
    queries: int
    keys: int
    top: int = LISTED_PAIRS
    text: int = 0
    visible: float = 1.0
    maps: float = 1.0

    @property
    def bytes_of_cell(self) -> float:
        """What a cell of a head's pictures takes."""
        return self.maps * self._bytes_of_one

    @property
    def pictures(self) -> int:
        """One a head of each batch item."""
        return self.batch * self.heads

    @property
    def bytes_of_all(self) -> float:
        """What it takes to give all weights of all heads one by one, with their pictures."""
        of_pair = BYTES_OF_FLOAT * self.visible + BYTES_OF_MASKED + self._bytes_of_one
        thumb = BYTES_OF_THUMB if self.queries * self.keys > SMALL_PICTURE else 0
        return self.pictures * (self.queries * (self.keys * of_pair + 2 * BYTES_OF_FLOAT) + BYTES_OF_BLOBS + thumb)

    @property
    def _bytes_of_one(self) -> float:
        return BYTES_OF_CELL * self.visible + BYTES_OF_MASKED


class BudgetPlanner:
    """Shares a page's size out among the calls of a run, which come one after another.

    Every head gets as much as every other, but for those whose weights all fit into less.

    Args:
        room: bytes that there are for the calls.
        sizes: for each call a number that grows with its weights: the others' shapes are not known when one is planned,
            and are taken to differ from its own as these numbers do.
    """

    def __init__(self, room: int, sizes: Sequence[float]) -> None:
        self._room, self._sizes, self._number, self._text = float(room), sizes, 0, 0

    @property
    def room(self) -> float:
        """Bytes that are left."""
        return self._room

    def plan(self, size: CallSize) -> DetailOptions:
        """What the next call is to give."""
        others = self._sizes[self._number :]
        self._number += 1
        self._room -= max(0, size.text - self._text)  # calls of one text share it
        self._text = max(self._text, size.text)
        fixed = BYTES_OF_CALL + size.pictures * (BYTES_OF_HEAD + size.top * BYTES_OF_PAIR)
        own = max(others[0], 1e-9)
        blobs = size.pictures * BYTES_OF_BLOBS
        wanted = [(size.bytes_of_all - blobs) * other / own + blobs for other in others]
        share = _share(wanted, self._room - fixed * len(others))
        self._room -= fixed + share
        return _detail(size, share)


def _share(wanted: Sequence[float], room: float) -> float:
    """What the first gets where all get as much as it takes, but none more than it wants."""
    left = max(room, 0.0)
    for place, amount in enumerate(sorted(wanted)):
        level = left / (len(wanted) - place)
        if amount > level:
            return min(wanted[0], level)
        left -= amount
    return wanted[0]


def _detail(size: CallSize, share: float) -> DetailOptions:
    """The most that a call can give in ``share`` bytes."""
    rows, columns = min(size.queries, LARGEST), min(size.keys, LARGEST)
    if size.bytes_of_all <= share + 1:  # a byte for rounding
        return DetailOptions(rows, columns, whole=True)
    of_head = share / size.pictures
    pairs, corners, row = _windows(size, of_head / 2)
    count = pairs + 2 * corners
    least = _bytes_of_windows(SIDES[-1], count) + row * _bytes_of_row(size)
    rows, columns = picture_size(size.queries, size.keys, _cells(size, of_head - least))
    cells = _pooled(size.queries, rows) * _pooled(size.keys, columns)
    thumb = BYTES_OF_THUMB if cells > SMALL_PICTURE else 0
    room = of_head - cells * size.bytes_of_cell - row * _bytes_of_row(size) - thumb
    side = next((side for side in SIDES if _bytes_of_windows(side, count) <= room), SIDES[-1])
    return DetailOptions(rows, columns, pairs=pairs, side=side, corners=corners, strongest_row=row)


def _cells(size: CallSize, room: float) -> float:
    """Cells of the largest picture in ``room`` bytes; a large one has a small one beside it."""
    cells = room / size.bytes_of_cell
    return min(cells, max(SMALL_PICTURE, (room - BYTES_OF_THUMB) / size.bytes_of_cell))


def _windows(size: CallSize, room: float) -> tuple[int, bool, bool]:
    """Windows around pairs, whether at the corners, and whether a row: the most that ``room`` bytes of a head hold."""
    for pairs, corners, row in (
        (WINDOW_PAIRS, True, True),
        (WINDOW_PAIRS, True, False),
        (1, True, False),
        (1, False, False),
    ):
        if _bytes_of_windows(SIDES[-1], pairs + 2 * corners) + row * _bytes_of_row(size) <= room:
            return pairs, corners, row
    return 0, False, False


def _bytes_of_windows(side: int, count: int) -> float:
    return count * ((side + 2) * side * BYTES_OF_FLOAT + 5 * BYTES_OF_BLOB)


def _bytes_of_row(size: CallSize) -> float:
    return size.keys * BYTES_OF_FLOAT + 5 * BYTES_OF_BLOB


def picture_size(queries: int, keys: int, cells: float) -> tuple[int, int]:
    """Rows and columns of the largest picture of so many cells, shaped as the weights are; LEAST of each at least."""
    cells = max(cells, LEAST**2)
    per_cell = max(1.0, math.sqrt(queries * keys / cells))
    rows = _between(int(queries / per_cell), queries)
    columns = _between(int(cells / rows), keys)
    if queries == keys:
        return min(rows, columns), min(rows, columns)
    return _between(int(cells / columns), queries), columns


def _pooled(whole: int, most: int) -> int:
    """Cells that a side of a picture has in the end: pools are whole numbers."""
    return math.ceil(whole / math.ceil(whole / most))


def _between(cells: int, whole: int) -> int:
    return min(max(cells, LEAST), whole, LARGEST)
