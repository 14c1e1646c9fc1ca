"""A call in float64, and how far from it a result may be for its dtype alone."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor

from attn_cli.attention.selection import select
from attn_cli.attention.textbook import share_key_value_heads
from attn_cli.attention.types import AttentionInputs, accumulation_dtype
from attn_cli.checks.evidence import Evidence
from attn_cli.checks.pieces import Piece, pieces
from attn_cli.checks.spread import visible_cells

ROUNDINGS = 2  # eps: v, the weights and the output, half an eps each; measured on real and random calls: at most a
LOGIT_ROUNDINGS = 1  # third of what these two allow, also where every step is rounded to bfloat16
MOST_KEPT = 2**18  # cells, or numbers of q, k, v and the output: some steps of 2 MiB each
MOST_OF_A_LOGIT = 0.1  # a logit off by 0.1 changes its weight by a tenth of it: no dtype is an excuse for more


def file_inputs(evidence: Evidence) -> AttentionInputs:
    """The selected part of the call in the file's own numbers, as views where it can be."""
    inputs = evidence.call.inputs
    if isinstance(inputs, AttentionInputs):
        return select(inputs, evidence.call.positions)
    return evidence.exact_inputs


def exact_pieces(inputs: AttentionInputs, rows: Sequence[int] | None = None) -> Iterator[Piece]:
    """Every step in float64, of all rows or of these; see :func:`pieces`."""
    return pieces(inputs, rows, torch.float64)


def pieces_of(evidence: Evidence, rows: Sequence[int] | None = None) -> Iterable[Piece]:
    """:func:`exact_pieces` of the file's numbers; of a small call they are kept for the next rule that asks."""
    inputs = file_inputs(evidence)
    batch, heads, queries, keys = inputs.weights_shape
    wanted = tuple(range(queries)) if rows is None else tuple(rows)
    features = inputs.q.shape[3] + inputs.v.shape[3]
    if batch * heads * max(len(wanted) * keys, (len(wanted) + keys) * features) > MOST_KEPT:
        return exact_pieces(inputs, wanted)
    if wanted not in evidence.kept_pieces:
        evidence.kept_pieces[wanted] = tuple(exact_pieces(inputs, wanted))
    return evidence.kept_pieces[wanted]


def explained(piece: Piece, dtype: torch.dtype) -> Tensor:
    """How far an output computed in ``dtype`` may be from the exact one for its roundings alone.

    Roundings of the output cost some eps of it, those of v and of the weights, independent of each other, some eps of
    √Σⱼ (Aᵢⱼ·vⱼ)², a sum over n products √n eps of the accumulation dtype, and what is too small for the dtype its
    smallest number. A logit of size L is off by some L·eps, at most by 0.1, and moves the output by that times the
    spread of V under the weights (the first order of softmax; Cauchy and Schwarz).

    Args:
        piece: rows in float64.
        dtype: that the output was computed in.

    Returns:
        ``(1, h, r)`` float64.
    """
    if dtype not in piece.explained:
        piece.explained[dtype] = _explained(piece, dtype)
    return piece.explained[dtype]


def _explained(piece: Piece, dtype: torch.dtype) -> Tensor:
    steps = piece.steps
    v = share_key_value_heads(piece.inputs.v, steps.weights.shape[1])  # (1, h, Sk, Dv)
    scatter = (steps.weights.square() @ v.square()).sqrt()  # of independent roundings, (1, h, r, Dv)
    size = (steps.output.abs() + scatter).amax(dim=-1)  # (1, h, r)
    spread = (steps.weights @ v.square() - steps.output.square()).clamp(min=0).sqrt().amax(dim=-1)
    eps = ROUNDINGS * torch.finfo(dtype).eps + _accumulating(dtype, v.shape[2])
    tiny = torch.finfo(dtype).smallest_normal * torch.finfo(dtype).eps
    lost = tiny * (1 + math.sqrt(v.shape[2]) * v.abs().amax(dim=(2, 3)))  # (1, h)
    return eps * size + logit_loss(piece, dtype) * spread + lost[..., None]


def logit_loss(piece: Piece, dtype: torch.dtype) -> Tensor:
    """By how much the logits that matter in a row may be off in ``dtype``, at most 0.1: ``(1, h, r)`` float64."""
    steps, inputs = piece.steps, piece.inputs
    k = share_key_value_heads(inputs.k, steps.weights.shape[1])  # (1, h, Sk, D)
    rounding = (inputs.q.square() @ k.square().mT).sqrt() * abs(inputs.scale)  # (1, h, r, Sk)
    sizes = steps.scaled.abs() + rounding
    if inputs.rules.bias is not None:
        sizes = sizes + torch.where(visible_cells(piece), inputs.rules.bias.abs(), 0.0)
    matters = torch.where(steps.weights > 0, steps.weights * sizes.square(), 0.0).sum(dim=-1).sqrt()
    eps = LOGIT_ROUNDINGS * torch.finfo(dtype).eps + _accumulating(dtype, k.shape[3])
    return (eps * matters).clamp(max=MOST_OF_A_LOGIT)


def _accumulating(dtype: torch.dtype, number: int) -> float:
    """What a sum of so many products loses, relative to their size: roundings add up like a random walk."""
    return torch.finfo(accumulation_dtype(dtype)).eps * math.sqrt(number)
