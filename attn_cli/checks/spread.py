"""How much the logits of a row vary: what the scale, and attention without preferences, show in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from attn_cli.attention.masks import HIDING
from attn_cli.attention.types import AttentionInputs
from attn_cli.checks.pieces import Piece, pieces

UNIFORM = 0.05  # of the logits within a row: weights differ by a twentieth; the least of a real head is 0.46


@dataclass(frozen=True)
class Spread:
    """Standard deviations of row-centred logits over visible keys, of evenly spaced query rows.

    Attributes:
        scaled: after the scale, before softcap and bias, ``(B, Hq)`` float64; NaN where there is nothing to measure.
        final: after softcap and bias, in the same form.
        freedom: Σᵢ (nᵢ − 1) over the rows that were measured, nᵢ their visible keys, ``(B, Hq)`` float64.
    """

    scaled: Tensor
    final: Tensor
    freedom: Tensor


def spread_of(inputs: AttentionInputs, rows: Sequence[int]) -> Spread:
    """Measure these rows of a call; a row with a logit that is not finite is left out."""
    shape = inputs.weights_shape[:2]
    scaled, final, freedom = (torch.zeros(shape, dtype=torch.float64) for _ in range(3))
    for piece in pieces(inputs, rows):
        visible = visible_cells(piece)
        sound = (piece.steps.biased.isfinite() | ~visible).all(dim=-1, keepdim=True)  # (1, h, r, 1)
        counted = visible & sound
        place = (list(piece.items), list(piece.heads))
        scaled[place] += _squares(piece.steps.scaled, counted)
        final[place] += _squares(piece.steps.biased, counted)
        freedom[place] += (counted.sum(dim=-1) - 1).clamp(min=0).sum(dim=-1)[0].cpu().double()
    return Spread((scaled / freedom).sqrt(), (final / freedom).sqrt(), freedom)


def visible_cells(piece: Piece) -> Tensor:
    """The cells that neither mask nor bias hides, bool, ``(1, h, r, Sk)``; a bias of −1000 or less hides."""
    steps, bias = piece.steps, piece.inputs.rules.bias
    visible = torch.ones_like(steps.scores, dtype=torch.bool)
    if steps.keep is not None:
        visible = visible & steps.keep
    return visible if bias is None else visible & ~(bias <= HIDING)


def counted_heads(number: int, shape: Sequence[int]) -> str:
    """``3 of 12 heads``; a head counts once in every batch item: ``3 of 24 heads in 2 batch items``."""
    batch, heads = shape
    several = "" if batch == 1 else f" in {batch} batch items"
    return f"{number} of {batch * heads} head{'' if batch * heads == 1 else 's'}{several}"


def _squares(logits: Tensor, counted: Tensor) -> Tensor:
    """Σ of squared deviations from the row's mean over the cells that count, ``(h,)`` float64 on the CPU."""
    number = counted.sum(dim=-1, keepdim=True).clamp(min=1)
    mean = torch.where(counted, logits, 0.0).sum(dim=-1, keepdim=True) / number
    return torch.where(counted, logits - mean, 0.0).square().sum(dim=(-2, -1))[0].cpu().double()
