"""Two sources of values compared head by head, in blocks of rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from attn_cli.attention.blocks import row_blocks
from attn_cli.differences.divergence import DivergenceTally
from attn_cli.differences.maps import MapBuilder, MapSize
from attn_cli.differences.measure import Tally
from attn_cli.differences.sources import Source, as_numbers, is_whole
from attn_cli.differences.tolerance import coarser
from attn_cli.differences.types import Compared, Divergence, HeadDifference, Measured, Tolerance

VALUES_AT_ONCE = 2**20
COMPARED_AT_ONCE = 2**18  # they and what is made of them stay in a core's cache
ROUNDINGS = 4
OUTPUT, WEIGHTS = "output", "weights"
COLUMNS = {OUTPUT: "feature", WEIGHTS: "key"}
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Numbers:
    """What batch items, heads and rows are called in the whole call.

    Attributes:
        batch, heads: one number each.
        rows: ``(R,)`` int64 on the CPU.
    """

    batch: Sequence[int]
    heads: Sequence[int]
    rows: Tensor

    @classmethod
    def plain(cls, batch: int, heads: int, rows: int) -> Numbers:
        """Everything called by its place."""
        return cls(range(batch), range(heads), torch.arange(rows))


def compare_heads(
    left: Source,
    right: Source,
    quantity: str,
    tolerance: Tolerance,
    numbers: Numbers,
    size: MapSize | None = None,
    progress: Progress | None = None,
    has_sink: bool = False,
) -> Compared:
    """Compare every head of two sources of one shape; memory is bounded, however many values there are.

    Args:
        left: what to compare.
        right: and with what: relative errors and the tolerance refer to it.
        quantity: ``"weights"``, whose rows are compared as distributions too, or anything else.
        tolerance: what counts as equal.
        numbers: what batch items, heads and rows are called.
        size: of the pictures; None makes none.
        progress: told how many values are compared, of how many.
        has_sink: whether what a row of weights lacks to 1 is the weight of a sink.
    """
    batch, heads, rows, columns = left.shape
    device, dtype = _meeting_place(left, right), _work_dtype(left, right, quantity)
    tally = Tally(batch * heads, columns, tolerance, coarser(left.dtype, right.dtype), device)
    spread = None
    if quantity == WEIGHTS:
        spread = DivergenceTally(batch * heads, device, _rounding(left, right), has_sink)
    pictures = None if size is None else MapBuilder(batch * heads, rows, columns, size, device)
    done = 0
    for items, some, these in _blocks(batch, heads, rows, columns):
        place = slice(items.start * heads + some.start, (items.stop - 1) * heads + some.stop)
        ours, theirs = left.block(items, some, these), right.block(items, some, these)
        for part in row_blocks(ours.shape[1], ours.shape[0] * columns, COMPARED_AT_ONCE):
            first = these.start + part.start
            one, other, apart = as_numbers(ours[:, part], theirs[:, part], device, dtype)
            gap = tally.add(place, first, one, other, apart)
            if spread is not None:
                spread.add(place, first, one, other)
            if pictures is not None:
                pictures.add(place, first, gap)
        done += ours.numel()
        if progress is not None:
            progress(done, batch * heads * rows * columns)
    each, total = tally.result()
    each = [_exact(one, (left, right), *divmod(head, heads)) for head, one in enumerate(each)]
    found = _head_differences(each, None if spread is None else spread.result(), numbers)
    shown = None if pictures is None else pictures.result(numbers.rows)
    compared = Compared(
        quantity, COLUMNS.get(quantity, "column"), tolerance, found, _numbered(total, numbers.rows), shown
    )
    return replace(compared, total=replace(compared.total, worst=compared.worst_head.measured.worst))


def _head_differences(
    each: Sequence[Measured], spread: Sequence[Divergence] | None, numbers: Numbers
) -> tuple[HeadDifference, ...]:
    """The heads with their numbers in the whole call."""
    pairs = [(b, h) for b in numbers.batch for h in numbers.heads]
    found = [HeadDifference(b, h, _numbered(one, numbers.rows)) for (b, h), one in zip(pairs, each, strict=True)]
    if spread is None:
        return tuple(found)
    rows = (_numbered_row(one, numbers.rows) for one in spread)
    return tuple(replace(head, divergence=one) for head, one in zip(found, rows, strict=True))


def _exact(measured: Measured, pair: tuple[Source, Source], item: int, head: int) -> Measured:
    """The same with the worst values as whole numbers, where that is what both sides hold."""
    worst = measured.worst
    if worst is None or not all(is_whole(one.dtype) for one in pair):
        return measured
    place = slice(item, item + 1), slice(head, head + 1), slice(worst.row, worst.row + 1)
    left, right = (int(one.block(*place)[0, 0, worst.column].item()) for one in pair)
    return replace(measured, worst=replace(worst, left=left, right=right))


def _meeting_place(left: Source, right: Source) -> torch.device:
    """The device that both are on, where it has float64; else the CPU."""
    return left.device if left.device == right.device and left.device.type != "mps" else torch.device("cpu")


def _rounding(left: Source, right: Source) -> float:
    """What the rounding of its weights may take from a row's sum."""
    floats = [x.value_dtype for x in (left, right) if x.value_dtype.is_floating_point]
    return max((ROUNDINGS * torch.finfo(dtype).eps for dtype in floats), default=0.0)


def _work_dtype(left: Source, right: Source, quantity: str) -> torch.dtype:
    """Weights lie between 0 and 1, so that float32 tells the difference of two float32 exactly enough."""
    small = all(x.dtype.is_floating_point and x.dtype.itemsize <= 4 for x in (left, right))
    return torch.float32 if small and quantity == WEIGHTS else torch.float64


def _blocks(batch: int, heads: int, rows: int, columns: int) -> Iterator[tuple[slice, slice, slice]]:
    """Batch items, heads and rows: several items at once where they are small, else all heads of one, else one head."""
    numbers = heads * rows * columns
    if numbers <= COMPARED_AT_ONCE:
        for items in row_blocks(batch, numbers, COMPARED_AT_ONCE):
            yield items, slice(0, heads), slice(0, rows)
        return
    together = heads if numbers <= VALUES_AT_ONCE else 1
    for item in range(batch):
        for first in range(0, heads, together):
            for some in row_blocks(rows, together * columns, VALUES_AT_ONCE):
                yield slice(item, item + 1), slice(first, first + together), some


def _numbered(measured: Measured, rows: Tensor) -> Measured:
    """The same with the rows' numbers in the whole call."""
    worst, first = measured.worst, measured.first_row
    if worst is not None:
        worst = replace(worst, row=int(rows[worst.row]))
    return replace(measured, worst=worst, first_row=None if first is None else int(rows[first]))


def _numbered_row(divergence: Divergence, rows: Tensor) -> Divergence:
    return divergence if divergence.row is None else replace(divergence, row=int(rows[divergence.row]))
