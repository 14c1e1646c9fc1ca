"""Windows of the heads' weights, one by one, formed when all keys have been read.

Which windows they are depends on the strongest pairs, so it is settled last; their weights need no softmax anew, since
every row's reference m and total T are known by then. Where all weights are held they are cut out of those, so that a
weight is the same number wherever it is given.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from attn_cli.inspection.areas import Area, ranges
from attn_cli.inspection.call import Call
from attn_cli.inspection.logits import keys_of, logits_of, weights_of
from attn_cli.inspection.options import DetailOptions
from attn_cli.inspection.rows import sink_weight
from attn_cli.inspection.types import TopPairs, WeightWindow

SCORES_AT_ONCE = 2**20
Pair = tuple[int, int]
Pairs = list[Pair]
Windows = tuple[tuple[tuple[WeightWindow, ...], ...], ...]


@dataclass(frozen=True)
class Softmax:
    """What the weights of every row of a call are formed with.

    Attributes:
        reference, total: m and T = Σ exp(logit − m), ``(B, Hq, Sq)``.
        lse: ``(B, Hq, Sq)``, without the sink.
        weights: ``(B, Hq, Sq, Sk)`` where they were kept; they are then given as they are.
    """

    reference: Tensor
    total: Tensor
    lse: Tensor
    weights: Tensor | None = None


@dataclass(frozen=True)
class _Span:
    """Where a window lies in a head."""

    kind: str
    rows: slice
    keys: slice

    def holds(self, other: _Span) -> bool:
        """True where ``other`` lies in it."""
        pairs = ((self.rows, other.rows), (self.keys, other.keys))
        return all(mine.start <= its.start and its.stop <= mine.stop for mine, its in pairs)


def windows_of(call: Call, softmax: Softmax, top: TopPairs, wanted: DetailOptions) -> Windows:
    """The windows of every head, ``[b][h]``.

    Args:
        call: the call that was inspected.
        softmax: of its rows.
        top: its strongest pairs.
        wanted: which windows to give.
    """
    batch, heads, rows, keys = call.inputs.weights_shape
    if wanted.whole:
        everything = Area(slice(0, batch), slice(0, heads // call.groups), slice(0, rows), call.groups)
        formed = _form(call, softmax, everything, _Span("whole", slice(0, rows), slice(0, keys)))
        return tuple(tuple((window,) for window in of_item) for of_item in formed)
    row_of = {query: row for row, query in enumerate(call.inputs.index.queries.tolist())}

    def near(place: int) -> tuple[int, int] | None:
        asked = wanted.around[place] if wanted.around else None
        return None if asked is None else (row_of[asked[0]], asked[1])

    def of_head(b: int, h: int) -> tuple[WeightWindow, ...]:
        kv_head, place = divmod(h, call.groups)
        area = Area(slice(b, b + 1), slice(kv_head, kv_head + 1), slice(0, rows), call.groups)
        found = zip(top.query[b, h].tolist(), top.key[b, h].tolist(), strict=True)
        pairs = [(row_of[query], key) for query, key in found if query >= 0]
        spans = _spans(rows, keys, pairs, near(b * heads + h), wanted)
        return tuple(_form(call, softmax, area, span)[0][place] for span in spans)

    return tuple(tuple(of_head(b, h) for h in range(heads)) for b in range(batch))


def _spans(rows: int, keys: int, pairs: Pairs, near: Pair | None, wanted: DetailOptions) -> list[_Span]:
    """The windows of a head with these strongest pairs; one that lies in another before it is left out."""
    given: list[_Span] = []
    for span in _every_span(rows, keys, pairs, near, wanted):
        if not any(other.holds(span) for other in given):
            given.append(span)
    return given


def _every_span(rows: int, keys: int, pairs: Pairs, near: Pair | None, wanted: DetailOptions) -> Iterator[_Span]:
    side = wanted.side
    places = [*([] if near is None else [("around", near)]), *(("pair", pair) for pair in pairs)]
    for kind, (row, key) in places[: wanted.pairs]:
        yield _Span(kind, _around(row, side, rows), _around(key, side, keys))
    if wanted.corners:
        yield _Span("first", slice(0, min(side, rows)), slice(0, min(side, keys)))
        yield _Span("last", slice(max(rows - side, 0), rows), slice(max(keys - side, 0), keys))
    if wanted.strongest_row and pairs:
        row = pairs[0][0]
        yield _Span("row", slice(row, row + 1), slice(0, keys))


def _around(middle: int, side: int, size: int) -> slice:
    """``side`` numbers of 0:size, ``middle`` as near to their middle as can be."""
    first = max(0, min(middle - side // 2, size - side))
    return slice(first, min(first + side, size))


def _form(call: Call, softmax: Softmax, area: Area, span: _Span) -> list[list[WeightWindow]]:
    """The window ``span`` of each batch item and query head of ``area``; its rows are the span's."""
    pieces = [_piece(call, softmax, replace(area, rows=rows), span.keys) for rows in _cut(area, span)]
    weights, visible, log_total, sink = (torch.cat(x, dim=2) for x in zip(*pieces, strict=True))
    has_sink = call.inputs.rules.sinks is not None
    return [
        [
            WeightWindow(
                kind=span.kind,
                first_row=span.rows.start,
                first_key=span.keys.start,
                weights=weights[b, h],
                visible=visible[b, h],
                log_total=log_total[b, h],
                sink=sink[b, h] if has_sink else None,
            )
            for h in range(weights.shape[1])
        ]
        for b in range(weights.shape[0])
    ]


def _cut(area: Area, span: _Span) -> Iterator[slice]:
    """The window's rows, so many at once that the scores stay few."""
    batch, heads, _ = area.shape
    at_once = max(1, SCORES_AT_ONCE // (batch * heads * (span.keys.stop - span.keys.start)))
    return ranges(span.rows, at_once)


def _piece(call: Call, softmax: Softmax, area: Area, keys: slice) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """On the CPU: weights and which of their keys are visible ``(b, h, r, t)``, log totals and sinks ``(b, h, r)``.

    Without sinks the last has no rows.
    """
    m, t = softmax.reference[area.place], softmax.total[area.place]  # (b, h, r)
    sinks = call.inputs.rules.sinks
    log_total = m + t.log()
    if sinks is None:
        is_empty = (softmax.lse[area.place] == -torch.inf).to(m.device)
        log_total = log_total.masked_fill(is_empty, -torch.inf)
    sink = m[..., :0] if sinks is None else sink_weight(call, area, m, t)
    if softmax.weights is None:
        weights = weights_of(logits_of(call, area, keys), m[..., None], t[..., None])  # (b, h, r, t)
    else:
        weights = softmax.weights[area.place][..., keys]
    return weights.cpu(), _visible(call, area, keys).expand(weights.shape).cpu(), log_total.cpu(), sink.cpu()


def _visible(call: Call, area: Area, keys: slice) -> Tensor:
    """Which keys the area's rows see: bool, broadcasts to ``(b, h, r, t)``."""
    seen, bias = call.seen.mask_tile(area, keys), call.seen.bias
    return seen if bias is None else seen & (area.of(keys_of(bias, keys)) != -torch.inf)
