"""What is said above the pictures: what they show of the call, and what a cell stands for."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from attn_cli.inspection.options import Zoom
from attn_cli.inspection.types import Pictures
from attn_cli.reporters.terminal.canvas import Canvas
from attn_cli.reporters.terminal.text import ranges
from attn_cli.results import CallResult


def print_captions(canvas: Canvas, result: CallResult, batches: range) -> None:
    """A dim paragraph for everything that is to be known of the pictures; ``batches`` are those that get one."""
    pictures, batch = result.inspection.pictures, result.inspection.index.batch
    if pictures.zoom is not None:
        canvas.paragraph(canvas.text("; ".join(_zoom(result, pictures, pictures.zoom)), "dim"))
    cells = pictures.query_pool * pictures.key_pool
    if cells > 1:
        size = f"{pictures.query_pool}×{pictures.key_pool}"
        canvas.paragraph(canvas.text(f"max-pooled {size}: each cell is the largest of {cells} weights", "dim"))
    if len(batches) < len(batch):
        shown, others = ranges(batch[: len(batches)]), ranges(batch[len(batches) :])
        canvas.paragraph(canvas.text(f"pictures of batch {shown} alone; --batch {others} shows the others", "dim"))


def pictured_queries(result: CallResult) -> Tensor:
    """The number in the whole call of each query row that the pictures show, ``(n,)``."""
    queries = result.inspection.pictures.queries
    return result.inspection.index.queries if queries is None else queries


def _zoom(result: CallResult, pictures: Pictures, zoom: Zoom) -> Iterator[str]:
    """What a window shows, and that all else is as without it."""
    total_queries, query_stop = result.inspection.index.total_queries, zoom.query_stop or 0
    key_stop, count = zoom.key_stop or 0, len(pictured_queries(result))
    rows = _numbers("query", "queries", zoom.first_query, query_stop, total_queries)
    if count < query_stop - zoom.first_query:
        rows += f" ({count} selected)"
    yield f"zoom: {rows}, {_numbers('key', 'keys', zoom.first_key, key_stop, result.num_keys)}"
    if pictures.query_pool * pictures.key_pool == 1:
        yield "each cell is one weight"
    if not bool(pictures.visible.any()):
        yield "every key in it is masked"
    yield "labels, metrics and pairs are as without --zoom"


def _numbers(one: str, several: str, first: int, stop: int, total: int) -> str:
    """``keys 3-8 of 20``."""
    return f"{one} {first} of {total}" if stop - first == 1 else f"{several} {first}-{stop - 1} of {total}"
