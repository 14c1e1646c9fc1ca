"""Every query's weights on the few keys that metrics ask for: those around its place, and the first ones."""

from __future__ import annotations

import torch
from torch import Tensor

from attn_cli.attention import textbook
from attn_cli.inspection.areas import Area, picked
from attn_cli.inspection.call import Call
from attn_cli.inspection.logits import weights_of
from attn_cli.inspection.rows import OFFSETS, RowValues
from attn_cli.inspection.seen import Seen, gather_key
from attn_cli.inspection.stream.functions import Functions
from attn_cli.inspection.stream.spans import Spans

VALUES_AT_ONCE = 2**17  # of queries, that stay in the cache while their keys pass


class NearWeights:
    """Fills in :attr:`RowValues.near` and :attr:`RowValues.first`.

    Args:
        call: the call.
        spans: where its rows are.
        functions: what does the work.
    """

    def __init__(self, call: Call, spans: Spans, functions: Functions) -> None:
        self._call, self._spans, self._functions = call, spans, functions
        self._mask = call.seen if call.seen.bias is None else Seen(call.seen.mask, None)
        self._offsets = torch.tensor(OFFSETS, device=call.device)

    def add(self, item: Area, values: RowValues) -> None:
        """Fill in an item's rows, whose reference and total are known."""
        self._add_scores(item, values)
        rows, num_keys = self._call.seen.mask.places[item.rows], self._call.seen.mask.num_keys
        near = (rows[:, None] + self._offsets).clamp(0, num_keys - 1)  # (r, 3)
        first = torch.arange(values.first.shape[-1], device=rows.device).expand(len(rows), -1)  # (r, ≤ 4)
        for scores, keys in ((values.near, near), (values.first, first)):
            scores.copy_(self._weights(item, scores, keys, values))

    def _weights(self, item: Area, scores: Tensor, keys: Tensor, values: RowValues) -> Tensor:
        """From dot products with some keys of each row ``(b, h, r, n)`` to their weights; keys ``(r, n)``."""
        rules = self._call.inputs.rules
        logits = scores * self._call.inputs.scale
        if rules.softcap is not None:
            logits = textbook.cap(logits, rules.softcap)
        if rules.bias is not None:
            logits = logits + picked(gather_key(rules.bias, keys, item.rows), item.place[:2])
        mask = picked(self._mask.at(keys, item.rows), item.place[:2])
        logits = textbook.hide(logits, mask, rules.mask.value)
        return weights_of(logits, values.reference[..., None], values.total[..., None])

    def _add_scores(self, item: Area, values: RowValues) -> None:
        """Put the dot products where the weights will be; 0 for a key that is not there."""
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
