"""The strongest query → key pairs of every head, found among the strongest cells of the rows.

A row's cells are the runs of keys that one column of the picture stands for. Order all cells of a head by their
largest weight, then by query, then by place: the K strongest pairs lie in the first K cells, since each of these
holds a pair that comes before any pair of a later cell. So K cells are kept while the rows pass, and their pairs are
looked at one by one at the end.
"""

from __future__ import annotations

import threading

import torch
from torch import Tensor

from attn_cli.attention import textbook
from attn_cli.attention.blocks import row_blocks
from attn_cli.inspection.areas import Area
from attn_cli.inspection.call import Call
from attn_cli.inspection.logits import HIDDEN, VISIBLE_ABOVE, weights_of
from attn_cli.inspection.seen import Pairs
from attn_cli.inspection.types import TopPairs

VALUES_AT_ONCE = 2**20
NOTHING = -1.0  # stands in for a weight that cannot be shown: hidden, NaN, or not found


class TopBuilder:
    """Keeps the K strongest cells of every head, then their K strongest visible pairs.

    Ties go to the lowest query, then to the lowest key. Threads may add at the same time.

    Args:
        call: the call to be walked.
        top: K.
        key_pool: keys of a cell.
    """

    def __init__(self, call: Call, top: int, key_pool: int) -> None:
        batch, heads, queries, keys = call.inputs.weights_shape
        self._call, self._pool, self._lock = call, key_pool, threading.Lock()
        self._top = min(max(top, 0), queries * keys)
        cells = min(self._top, queries * -(-keys // key_pool))
        self._queries = call.inputs.index.queries.cpu()
        self._ascends = bool((self._queries.diff() >= 0).all())
        self._log = torch.full((batch, heads, cells), HIDDEN, dtype=call.dtype)
        self._row = torch.full((batch, heads, cells), -1, dtype=torch.int64)
        self._cell = torch.full((batch, heads, cells), -1, dtype=torch.int64)

    def add(self, area: Area, cells: Tensor, strongest: Tensor) -> None:
        """Take in an area's rows; passed over where no pair could be among the strongest.

        Args:
            area: where they lie.
            cells: the logarithm of the largest visible weight of each cell, ``(b, h, r, C)``; less than VISIBLE_ABOVE
                where there is none.
            strongest: the largest of each row, ``(b, h, r)``.
        """
        if self._top == 0:
            return
        place = area.place[:2]
        peak = strongest.amax(dim=-1).cpu()  # (b, h)
        if bool((peak < self._log[place][..., -1]).all()):
            return
        columns, kept = cells.shape[-1], self._log.shape[-1]
        line = self._lines(area, strongest, kept)
        chosen = cells.gather(2, line.to(cells.device)[..., None].expand(-1, -1, -1, columns))
        chosen = chosen.masked_fill(repeated(line)[..., None].to(cells.device), HIDDEN)
        log, where = _strongest(chosen.flatten(2), kept)
        row = line.gather(-1, where // columns) + area.rows.start
        with self._lock:
            pairs = (
                torch.cat([self._log[place], log], dim=-1),
                torch.cat([self._row[place], row], dim=-1),
                torch.cat([self._cell[place], where % columns], dim=-1),
            )
            ranked = self._ranked(pairs, kept)
            for mine, best in zip((self._log, self._row, self._cell), ranked, strict=True):
                mine[place] = best

    def _lines(self, area: Area, strongest: Tensor, count: int) -> Tensor:
        """The lines of the strongest rows in ascending order of their queries, ``(b, h, ≤ 2·count)``."""
        if self._ascends:
            return _strongest(strongest, count)[1].sort(dim=-1).values
        order = self._queries[area.rows].argsort(stable=True)
        line = _strongest(strongest[..., order.to(strongest.device)], count)[1]
        return order[line.sort(dim=-1).values]

    def _ranked(self, pairs: tuple[Tensor, Tensor, Tensor], count: int) -> tuple[Tensor, Tensor, Tensor]:
        """The first ``count`` of weights, rows and places ``(b, h, n)``, in order."""
        weight, row, place = pairs
        for rank in (2, 1, 0):  # stable sorts, the least important rank first
            key = (weight, self._queries[row], place)[rank]
            order = key.argsort(dim=-1, stable=True, descending=rank == 0)
            weight, row, place = (x.gather(-1, order) for x in (weight, row, place))
        return weight[..., :count], row[..., :count], place[..., :count]

    def result(self, reference: Tensor, total: Tensor, weights: Tensor | None) -> TopPairs:
        """The strongest pairs, strongest first.

        Args:
            reference: what the weights of every row are formed with, m, ``(B, Hq, Sq)``.
            total: and T, in the same shape.
            weights: ``(B, Hq, Sq, Sk)`` where they were kept.
        """
        batch, heads, cells = self._log.shape
        found = torch.full((batch, heads, self._top), NOTHING, dtype=self._log.dtype)
        best = (found, torch.full_like(found, -1, dtype=torch.int64), torch.full_like(found, -1, dtype=torch.int64))
        size = batch * heads * self._pool * (1 if weights is not None else self._call.inputs.q.shape[-1])
        for some in row_blocks(cells, size, VALUES_AT_ONCE):
            new = self._pairs(some, reference, total, weights)
            both = [torch.cat(pair, dim=-1) for pair in zip(best, new, strict=True)]
            best = self._ranked((both[0], both[1], both[2]), self._top)
        found, row, key = best
        nothing = found == NOTHING
        query = self._queries[row].masked_fill(nothing, -1)
        return TopPairs(query, key.masked_fill(nothing, -1), torch.where(nothing, torch.nan, found.double()))

    def _pairs(
        self, some: slice, reference: Tensor, total: Tensor, weights: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Weights, rows and keys of the pairs of some kept cells, ``(B, Hq, pairs)``; −1 where one does not count."""
        call, num_keys = self._call, self._call.seen.mask.num_keys
        rows = self._row[..., some, None].clamp(min=0)  # (B, Hq, n, 1)
        keys = self._cell[..., some, None] * self._pool + torch.arange(self._pool)  # (B, Hq, n, pool)
        none = (self._log[..., some, None] < VISIBLE_ABOVE) | (keys >= num_keys)
        keys = keys.clamp(0, num_keys - 1)
        pairs = Pairs.of(rows.to(call.device), keys.to(call.device))
        if weights is not None:
            found = weights.to(call.device)[pairs.items, pairs.heads, pairs.rows, pairs.keys]
        else:
            denominator = (x[pairs.items, pairs.heads, pairs.rows] for x in (reference, total))
            found = weights_of(_logits(call, pairs), *denominator)
        found = found.masked_fill(~call.seen.pairs(pairs) | found.isnan(), NOTHING).cpu().masked_fill(none, NOTHING)
        return found.flatten(2), rows.expand_as(keys).flatten(2), keys.flatten(2)


def _logits(call: Call, pairs: Pairs) -> Tensor:
    """The logits before the mask, ``(B, Hq, n, pool)``; the pairs of a cell share their query."""
    inputs, rules = call.inputs, call.inputs.rules
    q = inputs.q[pairs.items, pairs.heads, pairs.rows].to(call.dtype)  # (B, Hq, n, 1, D)
    k = inputs.k[pairs.items, pairs.heads // call.groups, pairs.keys].to(call.dtype)  # (B, Hq, n, pool, D)
    logits = (k @ q.mT).squeeze(-1) * inputs.scale
    if rules.softcap is not None:
        logits = textbook.cap(logits, rules.softcap)
    if rules.bias is not None:
        logits = logits + pairs.of_tensor(rules.bias)
    return logits


def repeated(numbers: Tensor) -> Tensor:
    """True where a number of the last axis is the one before it once more."""
    same = numbers[..., 1:] == numbers[..., :-1]
    return torch.cat([torch.zeros_like(same[..., :1]) if same.shape[-1] else same.new_zeros(numbers.shape), same], -1)


def _strongest(weights: Tensor, top: int) -> tuple[Tensor, Tensor]:
    """Candidates for the ``top`` largest entries of each row of ``(b, h, n)``, and where they are, on the CPU.

    ``topk`` picks freely among equals, so the entries that equal the smallest one picked are chosen anew, the first
    ones of them.
    """
    top = min(top, weights.shape[-1])
    picked, where = weights.topk(top, dim=-1)
    least = picked[..., -1:]
    picked = picked.masked_fill(picked == least, HIDDEN)
    cells = torch.arange(weights.shape[-1], device=weights.device)
    behind = weights.shape[-1]
    first = torch.where(weights == least, cells, behind).topk(top, dim=-1, largest=False).values
    equal = torch.where(first < behind, least, HIDDEN)
    cell = torch.cat([where, first.clamp(max=behind - 1)], dim=-1)
    return torch.cat([picked, equal], dim=-1).cpu(), cell.cpu()
