"""Where two sides' weights differ, in the cells of the pictures that show them: signed, taken before any pooling."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import torch
from torch import Tensor

from attn_cli.differences.sources import Source
from attn_cli.differences.types import Compared, ShownPair
from attn_cli.inspection.pictures import farthest
from attn_cli.inspection.types import Inspection

NUMBERS_AT_ONCE = 2**22


def worst_places(weights: Compared | None) -> tuple[tuple[int, int] | None, ...]:
    """The query row and the key of each head where its weights differ most; empty where nothing was compared."""
    heads = () if weights is None else weights.heads
    places = [None if (worst := head.measured.worst) is None else (worst.row, worst.column) for head in heads]
    return tuple(places)


def with_differences(pair: ShownPair, left: Source | None, right: Source | None) -> ShownPair:
    """The pair with left − right in the cells of the left side's pictures, where those are pooled or rounded.

    The difference of two pooled weights is not the largest difference in their cell, which may be any number beside it.
    """
    detail = pair.left.inspection.detail
    if pair.right is None or left is None or right is None or detail is None or _is_whole(pair.left.inspection):
        return pair
    shown = detail.pictures
    cells = farthest_apart(left, right, shown.query_pool, shown.key_pool)
    own = replace(detail, pictures=replace(shown, apart=cells))
    return replace(pair, left=replace(pair.left, inspection=replace(pair.left.inspection, detail=own)))


def _is_whole(inspection: Inspection) -> bool:
    windows = () if inspection.detail is None else inspection.detail.windows
    return any(window.kind == "whole" for heads in windows for of_head in heads for window in of_head)


def farthest_apart(left: Source, right: Source, query_pool: int, key_pool: int) -> Tensor:
    """Of each cell's differences left − right the one of the largest magnitude: ``(B, H, R, C)`` float32 on the CPU.

    Args:
        left: ``(B, H, Sq, Sk)``.
        right: the same shape.
        query_pool: rows of a cell; the last may hold fewer.
        key_pool: the same of keys.

    Returns:
        NaN where either side has NaN or the difference has no number.
    """
    batch, heads = left.shape[:2]
    found = [
        farthest(_gap(left, right, *place)[None], query_pool, key_pool)[0].flatten(0, 1)  # (b·h·R, C)
        for place in _blocks(left.shape, query_pool)
    ]
    return torch.cat(found).reshape(batch, heads, -1, found[0].shape[1])


def _blocks(shape: tuple[int, int, int, int], query_pool: int) -> Iterator[tuple[slice, slice, slice]]:
    """Batch items, heads and rows of each block: whole items where they are small, else runs of cells of one head."""
    batch, heads, rows, keys = shape
    items = NUMBERS_AT_ONCE // max(1, heads * rows * keys)
    if items:
        yield from ((some, slice(0, heads), slice(0, rows)) for some in _runs(batch, items))
        return
    at_once = max(1, NUMBERS_AT_ONCE // (keys * query_pool)) * query_pool
    for item, head in product(range(batch), range(heads)):
        yield from ((slice(item, item + 1), slice(head, head + 1), some) for some in _runs(rows, at_once))


def _runs(size: int, at_once: int) -> Iterator[slice]:
    for first in range(0, size, at_once):
        yield slice(first, min(first + at_once, size))


def _gap(left: Source, right: Source, items: slice, heads: slice, rows: slice) -> Tensor:
    """left − right of a block, ``(b·h, r, Sk)`` float32 on the CPU."""
    one, other = (side.block(items, heads, rows).cpu() for side in (left, right))
    return (one.double() - other.double()).float()
