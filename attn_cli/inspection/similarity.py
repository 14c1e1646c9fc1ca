"""How alike two heads attend: the Jensen-Shannon divergence of their rows."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from attn_cli.inspection.areas import Area, ranges
from attn_cli.inspection.call import Call
from attn_cli.inspection.logits import logits_of, weights_of
from attn_cli.inspection.rows import sink_weight
from attn_cli.inspection.stream.plan import key_tiles
from attn_cli.inspection.stream.spans import Spans

SCORES_AT_ONCE = 2**20
KEYS_AT_ONCE = 512


def similarity(call: Call, reference: Tensor, total: Tensor) -> Tensor:
    """The mean divergence of every two heads over the query rows in which both have a visible key.

    The divergence of rows P and Q is H((P + Q)/2) − (H(P) + H(Q))/2, H the entropy in nats (Lin 1991; for attention
    heads Clark et al. 2019, arXiv 1906.04341). A learned sink is one more outcome, so that a row sums to 1.

    Args:
        call: the call.
        reference: what the weights of every row are formed with, m, ``(B, Hq, Sq)``, on the device of the call.
        total: and T, in the same shape.

    Returns:
        ``(B, Hq, Hq)`` float64 on the CPU, symmetric; NaN where two heads share no row or one holds a NaN.
    """
    batch, heads, queries, num_keys = call.inputs.weights_shape
    rows = max(1, SCORES_AT_ONCE // (heads * min(num_keys, KEYS_AT_ONCE)))
    divergence = torch.zeros(batch, heads, heads, dtype=torch.float64, device=call.home)
    counted, spans = torch.zeros_like(divergence), Spans.of(call.inputs.rules.mask)
    for item in range(batch):
        for some in ranges(slice(0, queries), rows):
            block = Area(slice(item, item + 1), slice(0, heads // call.groups), some, call.groups)
            of_rows = _of_rows(call, spans, block, reference[block.place], total[block.place])  # (Hq, Hq, r)
            live = block.of(call.seen.counts > 0).expand(block.shape)[0]  # (Hq, r)
            both = live[:, None] & live
            of_rows = torch.where(both, of_rows, 0.0).to(call.home, torch.float64)
            divergence[item] += of_rows.clamp(0, math.log(2)).sum(dim=-1)
            counted[item] += both.to(call.home, torch.float64).sum(dim=-1)
    mean = (divergence / counted).cpu()
    return mean.triu() + mean.triu(1).mT


def _of_rows(call: Call, spans: Spans, block: Area, reference: Tensor, total: Tensor) -> Tensor:
    """The divergence of every two heads in every row of a block of one batch item, ``(Hq, Hq, r)``; upper half."""
    _, heads, rows = block.shape
    between = total.new_zeros(heads, heads, rows)  # Σ of the entropies of the middles
    mask = call.inputs.rules.mask
    reach = spans.reach(block)
    first, behind = (reach.first, reach.behind) if mask.value is None else (0, mask.num_keys)
    for keys in key_tiles(first, behind, KEYS_AT_ONCE, KEYS_AT_ONCE):
        logits = logits_of(call, block, keys)
        _add_middles(between, weights_of(logits, reference[..., None], total[..., None])[0])
    if call.inputs.rules.sinks is not None:
        _add_middles(between, sink_weight(call, block, reference, total)[0, ..., None])
    own = between.diagonal().mT[:, None]  # (Hq, 1, r)
    return between - (own + own.transpose(0, 1)) / 2


def _add_middles(between: Tensor, weights: Tensor) -> None:
    """Add Σⱼ −M ln M, M the mean of two heads' rows of ``weights`` ``(Hq, r, t)``."""
    for head in range(len(weights)):
        middle: Tensor = torch.special.entr((weights[head] + weights[head:]) / 2)
        between[head, head:] += middle.sum(dim=-1)
