"""Where two sides' weights differ, in the cells of the pictures that show them: signed, taken before any pooling."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

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
    batch, heads, rows, keys = left.shape
    found = [
        farthest(_gap(left, right, item, head, some)[None, None], query_pool, key_pool)[0, 0]
        for item in range(batch)
        for head in range(heads)
        for some in _row_blocks(rows, keys, query_pool)
    ]
    return torch.cat(found).reshape(batch, heads, -1, found[0].shape[1])


def _row_blocks(rows: int, keys: int, query_pool: int) -> Iterator[slice]:
    """Runs of whole cells."""
    at_once = max(1, NUMBERS_AT_ONCE // (keys * query_pool)) * query_pool
    for first in range(0, rows, at_once):
        yield slice(first, min(first + at_once, rows))


def _gap(left: Source, right: Source, item: int, head: int, rows: slice) -> Tensor:
    """left − right of some rows of a head, ``(r, Sk)`` float32 on the CPU."""
    place = slice(item, item + 1), slice(head, head + 1), rows
    one, other = (side.block(*place)[0].cpu() for side in (left, right))
    return (one.double() - other.double()).float()
