"""The same pictures in fewer cells: one inspection serves outputs of different sizes."""

from __future__ import annotations

from dataclasses import replace

from attn_cli.inspection.options import InspectOptions
from attn_cli.inspection.pictures import farthest, max_pool, pool_sizes
from attn_cli.inspection.types import Pictures


def coarser(pictures: Pictures, rows: int, columns: int) -> Pictures:
    """Pictures of at most so many cells: each cell is the largest of whole cells of the finer ones.

    Args:
        pictures: of one call.
        rows: of cells, at most.
        columns: the same.

    Returns:
        The pictures themselves where they fit. Where query rows and keys were pooled alike they still are, so that a
        diagonal stays one.
    """
    have_rows, have_columns = pictures.weights.shape[2:]
    if have_rows <= rows and have_columns <= columns:
        return pictures
    by_row, by_column = pool_sizes(have_rows, have_columns, InspectOptions(picture_rows=rows, picture_columns=columns))
    return replace(
        pictures,
        weights=max_pool(max_pool(pictures.weights, 3, by_column), 2, by_row),  # (B, Hq, R, C)
        visible=max_pool(max_pool(pictures.visible, 3, by_column), 2, by_row),
        sink=None if pictures.sink is None else max_pool(pictures.sink, 2, by_row),  # (B, Hq, R)
        query_pool=pictures.query_pool * by_row,
        key_pool=pictures.key_pool * by_column,
        apart=None if pictures.apart is None else farthest(pictures.apart, by_row, by_column),
    )
