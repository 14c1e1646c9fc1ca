"""All steps of one row as vectors over the keys, by the textbook's functions in float64."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from attn_cli.attention import textbook
from attn_cli.attention.types import Rules
from attn_cli.explanation.hiding import Hider, hiders, visible_keys
from attn_cli.explanation.one_row import OneRow


@dataclass(frozen=True)
class RowSteps:
    """Every step of one row.

    Attributes:
        rules: mask, bias and sink of this row.
        scale: the factor on q·k.
        query: q, ``(D,)``.
        scores, scaled, capped, biased, logits, exponentials, weights: ``(Sk,)`` each.
        hiders: the rules that the row is under.
        visible: ``(Sk,)`` bool.
        reference: what is taken off every logit.
        total: the softmax's denominator; 0 where every logit is −∞.
        sink_exponential, sink_weight: of the sink, or None.
        lse: without the sink.
        output: weights · V, ``(Dv,)``.
    """

    rules: Rules
    scale: float
    query: Tensor
    scores: Tensor
    scaled: Tensor
    capped: Tensor
    biased: Tensor
    logits: Tensor
    exponentials: Tensor
    weights: Tensor
    hiders: tuple[Hider, ...]
    visible: Tensor
    reference: float
    total: float
    sink_exponential: float | None
    sink_weight: float | None
    lse: float
    output: Tensor

    @property
    def reached(self) -> Tensor:
        """``(Sk,)`` bool, the visible keys and those that a mask constant hides alone: what is NaN there is added."""
        rules = tuple(hider for hider in self.hiders if hider.kind != "mask constant")
        return visible_keys(rules, len(self.visible))


def row_steps(row: OneRow, batch: int) -> RowSteps:
    """Compute all steps of a row; beside vectors over the keys, no more than a block of K or V is held."""
    rules, query = row.rules, row.query()
    scale = query.shape[0] ** -0.5 if rules.scale is None else rules.scale
    scores = torch.empty(row.num_keys, dtype=torch.float64)  # (Sk,)
    for some in row.blocks():
        scores[some] = textbook.compare(query[None], row.keys(some))[0]
    scaled = scores * scale
    capped = scaled if rules.softcap is None else textbook.cap(scaled, rules.softcap)
    biased = capped if rules.bias is None else capped + rules.bias[0, 0, 0]
    keep = rules.mask.tile()
    logits = biased if keep is None else textbook.hide(biased, keep[0, 0, 0], rules.mask.value)
    weights, lse, sink_weight = textbook.softmax(logits[None, None, None], rules.sinks)
    weights = weights[0, 0, 0]
    output = torch.zeros_like(row.values(slice(0, 1))[0])
    for some in row.blocks():
        output = output + textbook.mix(weights[None, some], row.values(some))[0]  # (Dv,)
    sink = None if rules.sinks is None else float(rules.sinks[0])
    reference = _reference(logits, rules.sinks)
    exponentials = torch.exp(logits - reference)
    sink_exponential = None if sink is None else float(torch.exp(torch.tensor(sink).double() - reference))
    every = hiders(rules, batch)
    return RowSteps(
        rules, scale, query, scores, scaled, capped, biased, logits, exponentials, weights, every,
        visible_keys(every, row.num_keys), float(reference), float(exponentials.sum()) + (sink_exponential or 0.0),
        sink_exponential, None if sink_weight is None else float(sink_weight), float(lse), output,
    )  # fmt: skip


def _reference(logits: Tensor, sinks: Tensor | None) -> Tensor:
    """The largest logit, the sink's too, as the textbook's softmax takes it off; 0 where all are −∞."""
    peak = logits.amax()
    if sinks is not None:
        peak = torch.maximum(peak, sinks[0])
    return torch.where(peak == -torch.inf, torch.zeros_like(peak), peak)
