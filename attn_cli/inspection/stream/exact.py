"""The pass for numbers that no online softmax can carry: the textbook's own steps, a few query rows at a time.

It serves heads with a NaN, an infinity or numbers that overflow, which must have the same effect here as there; a
finite mask value, which gives hidden keys weight; and calls whose weights are all to be kept.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from attn_cli.attention import textbook
from attn_cli.attention.blocks import row_blocks
from attn_cli.attention.types import AttentionInputs
from attn_cli.inspection.areas import Area, picked
from attn_cli.inspection.call import Call
from attn_cli.inspection.logits import HIDDEN, LEAST_VISIBLE
from attn_cli.inspection.pictures import max_pool
from attn_cli.inspection.rows import RowValues
from attn_cli.inspection.stream.finish import Measured
from attn_cli.inspection.stream.loop import repeats
from attn_cli.inspection.stream.tokens import tokens_of_rows

SCORES_AT_ONCE = 2**19


class ExactPass:
    """Computes all weights of some query rows at once.

    Args:
        call: the call.
        key_pool: keys of a cell of the pictures.
        weights: ``(B, Hq, Sq, Sk)`` on the CPU, to be filled in, or None.
    """

    def __init__(self, call: Call, key_pool: int, weights: Tensor | None) -> None:
        self._call, self._key_pool, self._weights = call, key_pool, weights

    def rows(self, item: Area, values: RowValues) -> Measured:
        """Measure an item's rows.

        Args:
            item: where they lie.
            values: filled in, but for what follows from the output.
        """
        call, (batch, heads, rows) = self._call, item.shape
        columns = -(-call.seen.mask.num_keys // self._key_pool)
        output = values.lse.new_empty(batch, heads, rows, call.inputs.v.shape[-1])
        cells = values.lse.new_empty(batch, heads, rows, columns)
        of_visible = torch.empty_like(cells)
        at_once = batch * heads // call.groups * call.seen.mask.num_keys
        for some in row_blocks(rows, at_once, SCORES_AT_ONCE):
            piece = replace(item, rows=slice(item.rows.start + some.start, item.rows.start + some.stop))
            for group in range(call.groups):
                place = (slice(None), slice(group, None, call.groups), some)
                found = self._piece(piece, group, values.picked(place))
                for goal, x in zip((output, cells, of_visible), found, strict=True):
                    goal[place] = x
        return Measured(output, cells, of_visible, of_visible.amax(dim=-1))

    def _piece(self, piece: Area, group: int, values: RowValues) -> tuple[Tensor, Tensor, Tensor]:
        """Output and cells of the rows of one query head of each key/value head, ``(b, hkv, r)``, see Measured."""
        call = self._call
        heads = slice(piece.heads.start + group, piece.heads.stop, call.groups)
        inputs = _part(call, piece, heads)
        steps = textbook.attend(inputs)
        seen = call.seen.tile(piece.rows)  # (B or 1, Hq or 1, r, Sk)
        seen = picked(seen, (piece.batch, heads, slice(None)))
        self._measure(steps, seen, piece, values)
        _denominators(inputs, steps, values)
        if self._weights is not None:
            self._weights[piece.batch, heads, piece.rows] = steps.weights.to("cpu")
        logs = steps.weights.log().clamp(min=LEAST_VISIBLE)
        shown = logs.masked_fill(~seen | logs.isnan(), HIDDEN)
        cells, of_visible = (max_pool(x, 3, self._key_pool) for x in (logs, shown))  # (b, hkv, r, C)
        return steps.output, cells, of_visible

    def _measure(self, steps: textbook.Steps, seen: Tensor, piece: Area, values: RowValues) -> None:
        call, weights = self._call, steps.weights
        places = call.seen.mask.places[piece.rows]
        keys = torch.arange(call.seen.mask.num_keys, device=weights.device)
        apart = (places[:, None] - keys).abs().to(weights.dtype)  # (r, Sk)
        values.entropy.copy_(torch.special.entr(weights).sum(dim=-1))
        values.peak.copy_(weights.amax(dim=-1))
        values.distance.copy_(torch.einsum("bhrk,rk->bhr", weights, apart))
        values.max_logit.copy_(steps.capped.masked_fill(~seen, -torch.inf).amax(dim=-1))
        if values.duplicate is not None and values.induction is not None and call.tokens is not None:
            own, before = (x.expand(*weights.shape[:3], 1).flatten(0, 1).mT for x in tokens_of_rows(call, piece))
            for shift, goal in ((0, values.duplicate), (1, values.induction)):
                found = repeats(weights.flatten(0, 1).mT, 0, shift, own, before, call.tokens[piece.batch])
                goal.copy_(found.view_as(goal))


def _denominators(inputs: AttentionInputs, steps: textbook.Steps, values: RowValues) -> None:
    """Each row's lse, and the reference and total that its weights were formed with."""
    lse = torch.logsumexp(steps.masked, dim=-1)  # (b, hkv, r)
    values.lse.copy_(torch.where(steps.lse.isnan(), torch.nan, lse))
    reference = steps.masked.amax(dim=-1)
    sinks = inputs.rules.sinks
    if sinks is not None:
        reference = torch.maximum(reference, sinks[:, None])
    reference = torch.where(reference == -torch.inf, 0.0, reference)
    total = torch.exp(steps.masked - reference[..., None]).sum(dim=-1)
    if sinks is not None:
        total = total + torch.exp(sinks[:, None] - reference)
    values.reference.copy_(reference)
    values.total.copy_(torch.where(total == 0, 1.0, total))


def _part(call: Call, piece: Area, heads: slice) -> AttentionInputs:
    """The inputs of one query head of each key/value head, with views of K and V where no conversion is needed."""
    inputs, place = call.inputs, (piece.batch, heads, piece.rows)
    rules = inputs.rules
    lens = rules.mask.valid_lens
    mask = replace(
        rules.mask,
        places=rules.mask.places[piece.rows],
        valid_lens=None if lens is None else lens[piece.batch] if lens.dim() == 1 else lens[piece.batch, piece.rows],
        keep=None if rules.mask.keep is None else picked(rules.mask.keep, place),
    )
    return replace(
        inputs,
        q=inputs.q[place].to(call.dtype),
        k=inputs.k[piece.batch, piece.kv_heads].to(call.dtype),
        v=inputs.v[piece.batch, piece.kv_heads].to(call.dtype),
        rules=replace(
            rules,
            mask=mask,
            bias=None if rules.bias is None else picked(rules.bias, place),
            sinks=None if rules.sinks is None else rules.sinks[heads],
            scale=inputs.scale,
        ),
    )
