"""Every head as a picture: its weights, max-pooled where they do not fit.

Max-pooling, since mean-pooling loses sinks and single bright cells.
"""

from __future__ import annotations

import math
import threading

import torch
from torch import Tensor

from attn_cli.inspection.areas import Area
from attn_cli.inspection.call import Call
from attn_cli.inspection.options import InspectOptions
from attn_cli.inspection.seen import Seen
from attn_cli.inspection.types import Pictures


def pool_sizes(queries: int, keys: int, options: InspectOptions) -> tuple[int, int]:
    """Query rows and keys that one cell stands for.

    Where Sq = Sk both are the same, so that the diagonal stays a diagonal.
    """
    query_pool = max(1, math.ceil(queries / options.picture_rows))
    key_pool = max(1, math.ceil(keys / options.picture_columns))
    if queries == keys:
        query_pool = key_pool = max(query_pool, key_pool)
    return query_pool, key_pool


def max_pool(x: Tensor, dim: int, pool: int, begun: int = 0) -> Tensor:
    """The largest entry of each window of ``pool`` entries along ``dim``; NaN where one is NaN, any for bool.

    Args:
        x: float or bool.
        dim: counted from the first axis.
        pool: the window's size; the last window may hold fewer.
        begun: how many entries of the first window lie before ``x``.
    """
    size = x.shape[dim]
    lead = min(pool - begun, size) if begun else 0
    whole = (size - lead) // pool
    rest = size - lead - whole * pool
    windows = []
    if lead:
        windows.append(x.narrow(dim, 0, lead).amax(dim, keepdim=True))
    if whole:
        cut = x.narrow(dim, lead, whole * pool)
        windows.append(cut.reshape(*x.shape[:dim], whole, pool, *x.shape[dim + 1 :]).amax(dim + 1))
    if rest:
        windows.append(x.narrow(dim, size - rest, rest).amax(dim, keepdim=True))
    return torch.cat(windows, dim)


def farthest(x: Tensor, rows: int, columns: int) -> Tensor:
    """Of each window of ``rows`` × ``columns`` entries the one farthest from 0, with its sign; NaN where one is NaN.

    Args:
        x: ``(…, R, C)``, four axes.
        rows: of a window; the last may hold fewer.
        columns: the same.
    """
    highest, lowest = (max_pool(max_pool(sign * x, 3, columns), 2, rows) for sign in (1, -1))
    return torch.where(lowest > highest, -lowest, highest)


class PictureBuilder:
    """Builds the pictures from rows that are pooled along their keys already; threads may add at the same time."""

    def __init__(self, call: Call, options: InspectOptions) -> None:
        batch, heads, queries, keys = call.inputs.weights_shape
        self.query_pool, self.key_pool = pool_sizes(queries, keys, options)
        rows, columns = math.ceil(queries / self.query_pool), math.ceil(keys / self.key_pool)
        self._call, self._lock = call, threading.Lock()
        self._logs = torch.full((batch, heads, rows, columns), -torch.inf, dtype=call.dtype, device=call.device)
        self._sink = None
        if call.inputs.rules.sinks is not None:
            self._sink = torch.full((batch, heads, rows), -torch.inf, dtype=call.dtype, device=call.device)

    def add(self, area: Area, cells: Tensor) -> None:
        """Take in an area's rows, ``(b, h, r, C)``: the logarithm of each cell's largest weight."""
        self._enter(self._logs, area, cells)

    def add_sink(self, area: Area, sink: Tensor) -> None:
        """Take in the sink's weight of an area's rows, ``(b, h, r)``."""
        assert self._sink is not None  # called only where there are sinks
        self._enter(self._sink, area, sink.log())

    def _enter(self, picture: Tensor, area: Area, rows: Tensor) -> None:
        first, begun = divmod(area.rows.start, self.query_pool)
        pooled = max_pool(rows, 2, self.query_pool, begun)  # (b, h, cells, …)
        place = (area.batch, area.heads, slice(first, first + pooled.shape[2]))
        with self._lock:
            picture[place] = torch.maximum(picture[place], pooled)

    def result(self) -> Pictures:
        """The pictures, on the CPU in float32."""
        return Pictures(
            weights=_weights(self._logs),
            visible=visible_cells(self._call.seen, self.query_pool, self.key_pool).cpu(),
            sink=None if self._sink is None else _weights(self._sink),
            query_pool=self.query_pool,
            key_pool=self.key_pool,
            first_query=int(self._call.inputs.index.queries[0]),
        )


def _weights(logs: Tensor) -> Tensor:
    """On the CPU, in float32; 0 where a cell is hidden."""
    return logs.cpu().exp().float()


def visible_cells(seen: Seen, query_pool: int, key_pool: int) -> Tensor:
    """Which cells have a visible key: bool, ``(B or 1, Hq or 1, R, C)``."""
    batch, heads, queries = seen.shape
    rows, columns = math.ceil(queries / query_pool), math.ceil(seen.mask.num_keys / key_pool)
    if seen.by_interval:
        return _cells_of_intervals(seen, rows, columns, query_pool, key_pool)
    visible = torch.zeros(batch, heads, rows, columns, dtype=torch.bool, device=seen.mask.places.device)
    for block in seen.row_blocks():
        cells = max_pool(seen.tile(block), 3, key_pool)  # (B or 1, Hq or 1, r, C)
        row, begun = divmod(block.start, query_pool)
        pooled = max_pool(cells, 2, query_pool, begun)
        visible[:, :, row : row + pooled.shape[2]] |= pooled
    return visible


def _cells_of_intervals(seen: Seen, rows: int, columns: int, query_pool: int, key_pool: int) -> Tensor:
    """The same where every row sees one interval of keys: how many begin, less how many have ended, cell by cell."""
    first, behind = (x[:, 0] for x in seen.intervals)  # (B or 1, Sq)
    counts = (first < behind).to(torch.int32)
    lines = torch.arange(first.shape[1], device=first.device) // query_pool
    lines = (lines + torch.arange(len(first), device=first.device)[:, None] * rows) * (columns + 1)  # (B or 1, Sq)
    begun = torch.zeros(len(first) * rows * (columns + 1), dtype=torch.int32, device=first.device)
    begun.index_add_(0, (lines + first // key_pool).flatten(), counts.flatten())
    ends = (behind - 1) // key_pool + 1
    begun.index_add_(0, (lines + ends).flatten(), counts.flatten(), alpha=-1)
    return begun.view(len(first), 1, rows, columns + 1).cumsum(dim=-1)[..., :columns] > 0
