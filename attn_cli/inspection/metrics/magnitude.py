"""How large a head's logits and its output are."""

from __future__ import annotations

from torch import Tensor

from attn_cli.inspection.call import Call
from attn_cli.inspection.metrics.base import Metric, has_every_head, over_layer_mean
from attn_cli.inspection.rows import Rows

INACTIVE_HEADS = "Sandoval-Segura et al. 2025, arXiv 2504.03889"


def _max_logit(rows: Rows) -> tuple[Tensor, Tensor]:
    return rows.values.max_logit, rows.has_visible


def _output_norm(rows: Rows) -> tuple[Tensor, Tensor]:
    return rows.values.output_norm, rows.has_visible


def _projected_norm(rows: Rows) -> tuple[Tensor, Tensor]:
    assert rows.values.projected_norm is not None  # the metric applies only where the output projection is known
    return rows.values.projected_norm, rows.has_visible


def _has_projection(call: Call) -> bool:
    return call.projections is not None


def _has_projection_of_every_head(call: Call) -> bool:
    return _has_projection(call) and has_every_head(call)


MAGNITUDE = (
    Metric(
        name="max_logit",
        unit="logit",
        definition="The largest logit of a visible key over all query rows, after scale and softcap, before the bias.",
        source="Kimi Team 2025, Kimi K2, arXiv 2507.20534 (S_max)",
        rows=_max_logit,
        reduction="max",
    ),
    Metric(
        name="output_norm",
        unit="units of V",
        definition="Mean Euclidean norm of a query's output A·V over the query rows that have a visible key.",
        source=INACTIVE_HEADS,
        rows=_output_norm,
    ),
    Metric(
        name="output_norm_relative",
        unit="ratio",
        definition="output_norm over its mean over all heads of the layer, for the same batch item.",
        source=INACTIVE_HEADS,
        rows=_output_norm,
        applies=has_every_head,
        finish=over_layer_mean,
    ),
    Metric(
        name="projected_norm",
        unit="units of the output",
        definition=(
            "Mean Euclidean norm of (A·V)·W_O,h, head h's part of the projected output without the bias, over the "
            "query rows that have a visible key."
        ),
        source=INACTIVE_HEADS,
        rows=_projected_norm,
        applies=_has_projection,
    ),
    Metric(
        name="projected_norm_relative",
        unit="ratio",
        definition="projected_norm over its mean over all heads of the layer, for the same batch item.",
        source=INACTIVE_HEADS,
        rows=_projected_norm,
        applies=_has_projection_of_every_head,
        finish=over_layer_mean,
    ),
)
