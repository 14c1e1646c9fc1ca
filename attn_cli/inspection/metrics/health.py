"""Counts of query rows that went wrong."""

from __future__ import annotations

import torch
from torch import Tensor

from attn_cli.inspection.metrics.base import OURS, Metric
from attn_cli.inspection.rows import Rows


def _fully_masked(rows: Rows) -> tuple[Tensor, Tensor]:
    return (~rows.has_visible).expand(rows.faulty.shape), torch.ones_like(rows.has_visible)


def _nonfinite(rows: Rows) -> tuple[Tensor, Tensor]:
    return rows.faulty, torch.ones_like(rows.has_visible)


HEALTH = (
    Metric(
        name="fully_masked_rows",
        unit="rows",
        definition="Number of query rows without a visible key.",
        source=OURS,
        rows=_fully_masked,
        reduction="sum",
    ),
    Metric(
        name="nonfinite",
        unit="rows",
        definition=(
            "Number of query rows with a visible logit of NaN or +∞, visible logits of −∞ alone, or a weight or output "
            "that is not finite."
        ),
        source=OURS,
        rows=_nonfinite,
        reduction="sum",
    ),
)
