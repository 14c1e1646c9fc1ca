"""What a metric is: one frozen object with its definition and a function on query rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from attn_cli.inspection.call import Call
from attn_cli.inspection.rows import Rows

OURS = "attn"


def _always(_: Call) -> bool:
    return True


def _unchanged(per_head: Tensor) -> Tensor:
    return per_head


@dataclass(frozen=True)
class Metric:
    """One number for every head of a call.

    Attributes:
        name: its key in the JSON.
        unit: ``"share"`` is a number from 0 to 1; ``"ratio"`` has no unit.
        definition: one exact sentence. A is the weights on keys without the sink's column, pᵢ query i's aligned place.
        source: where the definition was published, or ``"attn"`` where it is ours.
        rows: from r query rows, the values ``(b, h, r)`` and the base, which broadcasts to them. A base
            of False or 0 leaves the row out.
        reduction: ``"mean"`` is Σ values / Σ base over the rows that count, ``"max"`` and ``"sum"`` are over them.
        applies: whether the metric can be formed for a call at all.
        finish: from the reduced ``(B, Hq)`` float64 to the result.
    """

    name: str
    unit: str
    definition: str
    source: str
    rows: Callable[[Rows], tuple[Tensor, Tensor]]
    reduction: Literal["mean", "max", "sum"] = "mean"
    applies: Callable[[Call], bool] = _always
    finish: Callable[[Tensor], Tensor] = _unchanged


def over_layer_mean(per_head: Tensor) -> Tensor:
    """Each head of ``(B, Hq)`` over the mean of the heads of the same batch item."""
    return per_head / per_head.mean(dim=1, keepdim=True)


def has_every_head(call: Call) -> bool:
    """Whether the layer's mean over its heads can be formed."""
    return call.inputs.index.has_every_head
