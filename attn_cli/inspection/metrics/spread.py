"""How widely a head spreads its weights."""

from __future__ import annotations

from torch import Tensor

from attn_cli.inspection.metrics.base import OURS, Metric
from attn_cli.inspection.rows import Rows


def _entropy(rows: Rows) -> tuple[Tensor, Tensor]:
    return rows.values.entropy, rows.has_visible


def _entropy_normalized(rows: Rows) -> tuple[Tensor, Tensor]:
    most = rows.visible.clamp(min=2).to(rows.values.entropy.dtype).log()  # ln nᵢ
    return rows.values.entropy / most, rows.visible > 1


def _effective_span(rows: Rows) -> tuple[Tensor, Tensor]:
    return rows.values.entropy.exp(), rows.has_visible


def _confidence(rows: Rows) -> tuple[Tensor, Tensor]:
    return rows.values.peak, rows.has_visible


def _confidence_above_uniform(rows: Rows) -> tuple[Tensor, Tensor]:
    return rows.values.peak - rows.uniform, (1 - rows.uniform) * rows.has_visible


SPREAD = (
    Metric(
        name="entropy",
        unit="nats",
        definition="Mean of −Σⱼ Aᵢⱼ ln Aᵢⱼ, with 0·ln 0 = 0, over the query rows i that have a visible key.",
        source="Zhai et al. 2023, arXiv 2303.06296",
        rows=_entropy,
    ),
    Metric(
        name="entropy_normalized",
        unit="ratio",
        definition=(
            "Mean of −Σⱼ Aᵢⱼ ln Aᵢⱼ / ln nᵢ over the query rows i with nᵢ ≥ 2 visible keys: at most 1, or little more "
            "where a learned sink takes a part of the weight."
        ),
        source=OURS,
        rows=_entropy_normalized,
    ),
    Metric(
        name="effective_span",
        unit="keys",
        definition="Mean of exp(−Σⱼ Aᵢⱼ ln Aᵢⱼ) over the query rows i that have a visible key.",
        source=OURS,
        rows=_effective_span,
    ),
    Metric(
        name="confidence",
        unit="share",
        definition="Mean of maxⱼ Aᵢⱼ over the query rows i that have a visible key, no token left out.",
        source="Voita et al. 2019, arXiv 1905.09418, who leave the end-of-sequence token out",
        rows=_confidence,
    ),
    Metric(
        name="confidence_above_uniform",
        unit="ratio",
        definition=(
            "Σᵢ (maxⱼ Aᵢⱼ − 1/nᵢ) / Σᵢ (1 − 1/nᵢ) over the query rows i with nᵢ ≥ 2 visible keys: "
            "0 is uniform attention, 1 is all weight on one key."
        ),
        source=OURS,
        rows=_confidence_above_uniform,
    ),
)
