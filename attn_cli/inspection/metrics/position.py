"""Where a head looks, seen from the query's own place."""

from __future__ import annotations

from torch import Tensor

from attn_cli.inspection.metrics.base import OURS, Metric
from attn_cli.inspection.rows import Rows

CLARK_VOITA = "Clark et al. 2019, arXiv 1906.04341; Voita et al. 2019, arXiv 1905.09418"


def _attention_distance(rows: Rows) -> tuple[Tensor, Tensor]:
    return rows.values.distance, rows.has_visible


def _distance_ratio(rows: Rows) -> tuple[Tensor, Tensor]:
    """The base is the distance of uniform attention: the mean of abs(pᵢ − j) over the visible keys."""
    return rows.values.distance, rows.uniform_distance


def _offset_score(offset: int, name: str, key: str) -> Metric:
    """The mean weight on the key at pᵢ + ``offset``."""

    def score(rows: Rows) -> tuple[Tensor, Tensor]:
        return rows.weight_at(offset), rows.exists(rows.places + offset)

    place = "pᵢ" if offset == 0 else f"pᵢ {'+' if offset > 0 else '−'} {abs(offset)}"
    return Metric(
        name=name,
        unit="share",
        definition=f"Mean weight on {key}, j = {place}, over the query rows i that have a visible key and 0 ≤ j < Sk.",
        source=CLARK_VOITA,
        rows=score,
    )


def _offset_above_uniform(offset: int, name: str, key: str) -> Metric:
    """The same beyond what uniform attention would put there."""

    def excess(rows: Rows) -> tuple[Tensor, Tensor]:
        return rows.weight_at(offset) - rows.uniform, (1 - rows.uniform) * rows.sees(rows.places + offset)

    return Metric(
        name=name,
        unit="ratio",
        definition=(
            f"Σᵢ (Aᵢⱼ − 1/nᵢ) / Σᵢ (1 − 1/nᵢ) with j {key}, over the query rows i that may see it among nᵢ ≥ 2 "
            "visible keys: 0 is uniform attention, 1 is all weight on j."
        ),
        source=OURS,
        rows=excess,
    )


POSITION = (
    Metric(
        name="attention_distance",
        unit="keys",
        definition="Mean of Σⱼ Aᵢⱼ·abs(pᵢ − j) over the query rows i that have a visible key.",
        source="Vig and Belinkov 2019, arXiv 1906.04284",
        rows=_attention_distance,
    ),
    Metric(
        name="distance_ratio",
        unit="ratio",
        definition=(
            "Σᵢ Σⱼ Aᵢⱼ·abs(pᵢ − j) over the same sum for uniform attention to each row's visible keys: "
            "below 1 the head looks nearer than uniform attention does."
        ),
        source=OURS,
        rows=_distance_ratio,
    ),
    _offset_score(0, "self_score", "the query's own key"),
    _offset_score(-1, "previous_score", "the previous key"),
    _offset_score(1, "next_score", "the next key"),
    _offset_above_uniform(0, "self_above_uniform", "= pᵢ"),
    _offset_above_uniform(-1, "previous_above_uniform", "= pᵢ − 1"),
    _offset_above_uniform(1, "next_above_uniform", "= pᵢ + 1"),
)
