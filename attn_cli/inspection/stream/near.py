"""Dot products of every query with the few keys that metrics ask for: those around its place, and the first ones."""

from __future__ import annotations

import torch

from attn_cli.inspection.areas import Area
from attn_cli.inspection.call import Call
from attn_cli.inspection.rows import RowValues
from attn_cli.inspection.stream.functions import Functions
from attn_cli.inspection.stream.spans import Spans

VALUES_AT_ONCE = 2**17  # queries that stay in the cache while their keys pass


class NearScores:
    """Fills in :attr:`RowValues.near` and :attr:`RowValues.first`.

    Args:
        call: the call.
        spans: where its rows are.
        functions: what does the work.
    """

    def __init__(self, call: Call, spans: Spans, functions: Functions) -> None:
        self._call, self._spans, self._functions = call, spans, functions

    def add(self, item: Area, values: RowValues) -> None:
        """Fill in an item's rows; a key that is not there has the score 0."""
        call, groups = self._call, self._call.groups
        q = torch.unflatten(call.inputs.q[item.place].to(call.dtype), 1, (-1, groups))  # (b, hkv, groups, r, D)
        k = call.inputs.k[item.batch, item.kv_heads]  # (b, hkv, Sk, D)
        near, first = (torch.unflatten(x, 1, (-1, groups)) for x in (values.near, values.first))
        places = self._spans.places[item.rows]
        if self._spans.follow_one_another:
            at_once = max(1, VALUES_AT_ONCE // (q[:, :, :, 0].numel()))
            self._functions.near_scores(q, k, int(places[0]), at_once, near, first)
            return
        for row, place in enumerate(places):
            some = slice(row, row + 1)
            self._functions.near_scores(q[:, :, :, some], k, int(place), 1, near[:, :, :, some], first[:, :, :, some])
