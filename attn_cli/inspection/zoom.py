"""A window of every head's weights as a picture of its own, formed when all keys have been read.

The window is a smaller call: its query rows, its keys, and the same masks with the keys counted from its first one.
Its weights need no softmax anew, since every row's reference m and total T are known by then.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from attn_cli.attention.masks import MaskRule
from attn_cli.attention.selection import Selection, select
from attn_cli.inspection.areas import Area, ranges
from attn_cli.inspection.call import Call
from attn_cli.inspection.logits import keys_of, logits_of, weights_of
from attn_cli.inspection.options import InspectOptions, Zoom
from attn_cli.inspection.pictures import max_pool, pool_sizes, visible_cells
from attn_cli.inspection.rows import sink_weight
from attn_cli.inspection.seen import Seen
from attn_cli.inspection.stream.plan import areas
from attn_cli.inspection.stream.spans import Spans
from attn_cli.inspection.types import Pictures

NUMBERS_AT_ONCE = 2**18
KEYS_AT_ONCE = 512


def zoomed_rows(zoom: Zoom, queries: Tensor) -> Tensor:
    """Which of the inspected rows a window shows, in their order: ``(n,)`` int64.

    Args:
        zoom: the window.
        queries: ``(Sq,)``, the number in the whole call of each inspected row.

    Raises:
        IndexError: where there is none.
    """
    inside = queries >= zoom.first_query
    if zoom.query_stop is not None:
        inside &= queries < zoom.query_stop
    rows = inside.nonzero()[:, 0]
    if len(rows) == 0:
        raise IndexError("found none of the selected query rows in it; expected one at least")
    return rows


class ZoomedPictures:
    """The pictures of one window, built block by block: beyond them it takes some MiB, however large the window is.

    Args:
        call: the call that is inspected.
        zoom: the window, in numbers of the whole call.
        options: how large the pictures may be.

    Raises:
        IndexError: where the window reaches beyond the call, or none of its rows is inspected.
    """

    def __init__(self, call: Call, zoom: Zoom, options: InspectOptions) -> None:
        index, num_keys = call.inputs.index, call.inputs.k.shape[2]
        self._zoom = zoom.within(index.total_queries, num_keys)
        self._rows = zoomed_rows(self._zoom, index.queries.cpu())
        self._call = _part(call, self._rows, slice(self._zoom.first_key, self._zoom.key_stop))
        batch, heads, queries, keys = self._call.inputs.weights_shape
        self._pools = pool_sizes(queries, keys, options)
        self._spans = Spans.of(self._call.inputs.rules.mask)
        self._whole = Area(slice(0, batch), slice(0, heads // call.groups), slice(0, queries), call.groups)

    @property
    def work(self) -> int:
        """Scores that are computed, for the progress."""
        return self._spans.work(self._whole)

    def result(self, reference: Tensor, total: Tensor, tell: Callable[[int], None]) -> Pictures:
        """The pictures, on the CPU in float32.

        Args:
            reference: what the weights of every row of the call are formed with, m, ``(B, Hq, Sq)``.
            total: and T, in the same shape.
            tell: called with the scores of each block when it is done.
        """
        rows = self._rows.to(reference.device)
        reference, total = reference[..., rows], total[..., rows]  # (B, Hq, n)
        cells, sink = self._blank(reference, total), None
        if self._call.inputs.rules.sinks is not None:
            sink = torch.zeros_like(cells[..., 0])
        heads, block_rows, block_keys = self._sizes()
        for block in areas(self._whole, 1, heads, block_rows):
            m, t = reference[block.place], total[block.place]
            for keys in ranges(self._reached(block), block_keys):
                weights = weights_of(logits_of(self._call, block, keys), m[..., None], t[..., None])
                self._enter_weights(cells, block, keys, weights)
            if sink is not None:
                self._enter(sink, block, sink_weight(self._call, block, m, t))
            tell(self._spans.work(block))
        query_pool, key_pool = self._pools
        queries = self._call.inputs.index.queries.cpu()
        return Pictures(
            weights=cells.float().cpu(),
            visible=visible_cells(self._call.seen, query_pool, key_pool).cpu(),
            sink=None if sink is None else sink.float().cpu(),
            query_pool=query_pool,
            key_pool=key_pool,
            first_query=int(queries[0]),
            first_key=self._zoom.first_key,
            zoom=self._zoom,
            queries=queries,
        )

    def _blank(self, reference: Tensor, total: Tensor) -> Tensor:
        """Cells of weight 0, ``(B, Hq, R, C)``; NaN in rows without any weight that is a number."""
        no_weights = torch.where(reference.isnan() | total.isnan(), torch.nan, 0.0).to(total.dtype)
        columns = math.ceil(self._call.inputs.k.shape[2] / self._pools[1])
        return max_pool(no_weights, 2, self._pools[0])[..., None].repeat(1, 1, 1, columns)

    def _sizes(self) -> tuple[int, int, int]:
        """Key/value heads and query rows of a block, and keys of a tile: so that Q, K and scores stay small."""
        inputs, groups = self._call.inputs, self._call.groups
        _, _, queries, num_keys = inputs.weights_shape
        features = inputs.q.shape[-1]
        keys = max(1, min(num_keys, KEYS_AT_ONCE, NUMBERS_AT_ONCE // (groups * features)))
        rows = max(1, min(queries, NUMBERS_AT_ONCE // (groups * max(keys, features))))
        heads = max(1, NUMBERS_AT_ONCE // (groups * max(rows * keys, rows * features, keys * features)))
        return heads, rows, keys

    def _reached(self, block: Area) -> slice:
        """The keys that any row of the block sees or gives weight to."""
        reach, mask = self._spans.reach(block), self._call.inputs.rules.mask
        return slice(reach.first, reach.behind) if mask.value is None else slice(0, mask.num_keys)

    def _enter_weights(self, cells: Tensor, block: Area, keys: slice, weights: Tensor) -> None:
        """Take in a tile's weights ``(b, h, r, t)``."""
        first, begun = divmod(keys.start, self._pools[1])
        pooled = max_pool(weights, 3, self._pools[1], begun)  # (b, h, r, c)
        self._enter(cells[..., first : first + pooled.shape[3]], block, pooled)

    def _enter(self, cells: Tensor, block: Area, rows: Tensor) -> None:
        """Take in a block's rows ``(b, h, r, …)``."""
        first, begun = divmod(block.rows.start, self._pools[0])
        pooled = max_pool(rows, 2, self._pools[0], begun)  # (b, h, cells, …)
        place = (block.batch, block.heads, slice(first, first + pooled.shape[2]))
        cells[place] = torch.maximum(cells[place], pooled)


def _part(call: Call, rows: Tensor, keys: slice) -> Call:
    """Some rows and some keys of a call as a call of its own; views, where the rows follow one another."""
    inputs = select(call.inputs, Selection(queries=tuple(rows.tolist())))
    bias = None if inputs.rules.bias is None else keys_of(inputs.rules.bias, keys)
    mask = _mask_part(inputs.rules.mask, keys)
    inputs = replace(
        inputs,
        k=inputs.k[:, :, keys],
        v=inputs.v[:, :, keys],
        rules=replace(inputs.rules, mask=mask, bias=bias),
        token_ids=None,
    )
    return replace(call, inputs=inputs, seen=Seen(mask, None if call.seen.bias is None else bias), tokens=None)


def _mask_part(mask: MaskRule, keys: slice) -> MaskRule:
    """The rule for some keys, counted from the first of them."""
    lens = mask.valid_lens
    return replace(
        mask,
        num_keys=keys.stop - keys.start,
        places=mask.places - keys.start,
        valid_lens=None if lens is None else (lens - keys.start).clamp(min=0),
        keep=None if mask.keep is None else keys_of(mask.keep, keys),
    )
