"""One walk over a mask's cells, block by block: what its rows and columns have in common."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

BLOCK = 2**22  # cells that are looked at together
INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


@dataclass(frozen=True)
class Cells:
    """The rows and the columns of a mask whose heads are alike, on the CPU.

    Attributes:
        first: ``(b, s)`` int64, the first visible key of a row; 0 where none is.
        behind: ``(b, s)``, the key behind the last visible one; 0 where none is.
        count: ``(b, s)``, visible keys.
        seen: ``(b, k)`` bool, keys that some row sees.
    """

    first: Tensor
    behind: Tensor
    count: Tensor
    seen: Tensor


def survey(mask: Tensor) -> Cells:
    """Walk over a mask.

    Args:
        mask: ``(b, 1, s, k)``, True or 0 where a key is visible.
    """
    batch, _, queries, keys = mask.shape
    first, behind, count = (torch.zeros(batch, queries, dtype=torch.int64, device=mask.device) for _ in range(3))
    seen = torch.zeros(batch, keys, dtype=torch.bool, device=mask.device)
    for items, _, rows in blocks(mask):
        visible = visible_cells(mask[items, 0, rows])  # (n, r, k)
        count[items, rows] = visible.sum(dim=-1)
        numbers = visible.view(torch.uint8)
        first[items, rows] = numbers.argmax(dim=-1)
        behind[items, rows] = keys - numbers.flip(-1).argmax(dim=-1)
        seen[items] |= visible.any(dim=-2)
    behind[count == 0] = 0
    return Cells(first.cpu(), behind.cpu(), count.cpu(), seen.cpu())


def in_one_walk(parts: Sequence[Cells]) -> Cells:
    """The cells of a mask whose rows were walked over part by part; a part of one batch item is that of all."""
    batch = max(len(part.count) for part in parts)
    columns = ([part.expand(batch, -1) for part in column] for column in zip(*map(_of_rows, parts), strict=True))
    first, behind, count = (torch.cat(column, dim=1) for column in columns)
    seen = torch.stack([part.seen.expand(batch, -1) for part in parts]).any(dim=0)
    return Cells(first, behind, count, seen)


def _of_rows(cells: Cells) -> tuple[Tensor, Tensor, Tensor]:
    return cells.first, cells.behind, cells.count


def visible_cells(x: Tensor) -> Tensor:
    """Where a key is visible, of a mask whose cells are True or 0 there: bool."""
    return x if x.dtype == torch.bool else x == 0


def weakest_hiding(mask: Tensor) -> float:
    """The largest number other than 0 in a float mask; −inf where there is none, NaN where one is NaN.

    A positive number is as good as any other that no mask holds: the walk ends there.
    """
    weakest = -torch.inf
    for items, heads, rows in blocks(mask):
        block = mask[items, heads, rows]
        found = float(torch.where(block == 0, -torch.inf, block).amax())
        weakest = found if found != found else max(weakest, found)
        if not weakest <= 0:
            break
    return weakest


def every_row_sees(mask: Tensor) -> bool:
    """Whether each row of ``(b, h, s, k)`` has a visible key."""
    return all(bool(visible_cells(mask[place]).any(dim=-1).all()) for place in blocks(mask))


def blocks(x: Tensor) -> Iterator[tuple[slice, slice, slice]]:
    """Parts of the first three axes, each of at most ``BLOCK`` cells or of one row."""
    _, heads, queries, keys = x.shape
    for items in parts(x.shape[0], heads * queries * keys):
        for some in parts(heads, queries * keys):
            yield from ((items, some, rows) for rows in parts(queries, keys))


def parts(size: int, cells: int) -> Iterator[slice]:
    """Parts of an axis, each entry of which has so many ``cells``: of ``BLOCK`` cells or little less, or one entry."""
    step = max(1, BLOCK // max(1, cells))
    return (slice(start, min(start + step, size)) for start in range(0, size, step))


def bits(x: Tensor) -> Tensor:
    """The same memory as whole numbers, so that a NaN equals itself and 0.0 is not −0.0."""
    return x if x.dtype == torch.bool or not x.is_floating_point() else x.view(INTEGERS[x.dtype.itemsize])


def unexpanded(x: Tensor) -> Tensor:
    """A mask or bias of 2 to 4 axes with four, those that ``expand`` made with size 1: no copy."""
    x = x[(None,) * (4 - x.dim())]
    for axis in range(4):
        if x.shape[axis] > 1 and x.stride(axis) == 0:
            x = x.narrow(axis, 0, 1)
    return x


def narrowed(x: Tensor, axes: Iterable[int]) -> Tensor:
    """``x`` with those of the axes along which it is bit by bit the same cut to size 1: no copy."""
    for axis in axes:
        if x.shape[axis] > 1 and (x.stride(axis) == 0 or is_repeated(x, axis)):
            x = x.narrow(axis, 0, 1)
    return x


def is_repeated(x: Tensor, axis: int) -> bool:
    """Whether all of an axis of more than one entry is bit by bit the same."""
    size = x.shape[axis]
    if size < 2:
        return False
    ends = torch.equal(bits(x.narrow(axis, 0, 1)), bits(x.narrow(axis, size - 1, 1)))
    return ends and torch.equal(bits(x.narrow(axis, 1, size - 1)), bits(x.narrow(axis, 0, size - 1)))
