"""What an inspection is asked for. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Zoom:
    """A window of the weights, in numbers of the whole call.

    Attributes:
        first_query, query_stop: query rows first_query ≤ i < query_stop; a stop of None is the end.
        first_key, key_stop: keys first_key ≤ j < key_stop, likewise.
    """

    first_query: int = 0
    query_stop: int | None = None
    first_key: int = 0
    key_stop: int | None = None

    def __str__(self) -> str:
        """``"0:50,100:"``."""
        return f"{_range(self.first_query, self.query_stop)},{_range(self.first_key, self.key_stop)}"

    def within(self, queries: int, keys: int) -> Zoom:
        """The same window with both stops, in a call of so many query rows and keys.

        Raises:
            IndexError: where it is empty or reaches beyond them.
        """
        query_stop = queries if self.query_stop is None else self.query_stop
        key_stop = keys if self.key_stop is None else self.key_stop
        for what, first, stop, given, size in (
            ("query rows", self.first_query, query_stop, self.query_stop, queries),
            ("keys", self.first_key, key_stop, self.key_stop, keys),
        ):
            if not 0 <= first < stop <= size:
                raise IndexError(f"found {what} {_range(first, given)}; expected a range within 0:{size}")
        return Zoom(self.first_query, query_stop, self.first_key, key_stop)


def _range(first: int, stop: int | None) -> str:
    return f"{first}:{'' if stop is None else stop}"


@dataclass(frozen=True)
class DetailOptions:
    """Which weights to give one by one, beside the metrics and the pictures.

    Attributes:
        picture_rows, picture_columns: cells that whoever shows the details wants of a head's picture at most.
        whole: whether to give all weights of every head; the windows are then left out.
        pairs: how many of the strongest pairs of each head get a window around them.
        side: query rows and keys of a window.
        corners: whether the first and the last rows and keys of each head get a window.
        strongest_row: whether to give all weights of the strongest pair's query row.
        around: a query row and a key of each head of each batch item, in numbers of the whole call, that get a window
            in the place of one of the ``pairs``; None is a head without one. Empty where no head has one.
    """

    picture_rows: int
    picture_columns: int
    whole: bool = False
    pairs: int = 0
    side: int = 24
    corners: bool = False
    strongest_row: bool = False
    around: tuple[tuple[int, int] | None, ...] = ()


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
        zoom: the window that the pictures show; None shows everything. It changes the pictures alone.
        detail: which weights to give one by one; None gives none.
    """

    top: int = 3
    weights: bool = False
    similarity: bool = False
    picture_rows: int = 64
    picture_columns: int = 64
    block_rows: int | None = None
    block_keys: int | None = None
    zoom: Zoom | None = None
    detail: DetailOptions | None = None
