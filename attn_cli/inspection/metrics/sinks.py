"""How much weight the first keys and the learned sink draw."""

from __future__ import annotations

import torch
from torch import Tensor

from attn_cli.inspection.call import Call
from attn_cli.inspection.metrics.base import OURS, Metric
from attn_cli.inspection.rows import Rows


def _sees_first(rows: Rows) -> Tensor:
    return rows.sees(torch.zeros_like(rows.places))


def _sink_score(rows: Rows) -> tuple[Tensor, Tensor]:
    return rows.first_keys[..., 0], _sees_first(rows)


def _sink_above_uniform(rows: Rows) -> tuple[Tensor, Tensor]:
    return rows.first_keys[..., 0] - rows.uniform, (1 - rows.uniform) * _sees_first(rows)


def _first4_mass(rows: Rows) -> tuple[Tensor, Tensor]:
    return rows.first_keys.sum(dim=-1), rows.has_visible


def _learned_sink_mass(rows: Rows) -> tuple[Tensor, Tensor]:
    return rows.sink, rows.has_visible


def _learned_sink_above_uniform(rows: Rows) -> tuple[Tensor, Tensor]:
    uniform = 1 / (rows.visible + 1).to(rows.call.dtype)
    return rows.sink - uniform, (1 - uniform) * rows.has_visible


def _has_sinks(call: Call) -> bool:
    return call.inputs.rules.sinks is not None


SINKS = (
    Metric(
        name="sink_score",
        unit="share",
        definition="Mean weight on key 0 over the query rows that may see it.",
        source="Gu et al. 2025, arXiv 2410.10781 (α₁)",
        rows=_sink_score,
    ),
    Metric(
        name="sink_above_uniform",
        unit="ratio",
        definition=(
            "Σᵢ (Aᵢ₀ − 1/nᵢ) / Σᵢ (1 − 1/nᵢ) over the query rows i that may see key 0 among nᵢ ≥ 2 visible keys: "
            "0 is uniform attention, 1 is all weight on key 0."
        ),
        source=OURS,
        rows=_sink_above_uniform,
    ),
    Metric(
        name="first4_mass",
        unit="share",
        definition="Mean of Aᵢ₀ + Aᵢ₁ + Aᵢ₂ + Aᵢ₃ over the query rows i that have a visible key.",
        source="Xiao et al. 2024, arXiv 2309.17453 (StreamingLLM keeps four first tokens)",
        rows=_first4_mass,
    ),
    Metric(
        name="learned_sink_mass",
        unit="share",
        definition="Mean of σ(sink − lseᵢ), the learned sink's weight, over the query rows i that have a visible key.",
        source="Xiao et al. 2024, arXiv 2309.17453; OpenAI 2025, gpt-oss, arXiv 2508.10925",
        rows=_learned_sink_mass,
        applies=_has_sinks,
    ),
    Metric(
        name="learned_sink_above_uniform",
        unit="ratio",
        definition=(
            "Σᵢ (sᵢ − 1/(nᵢ + 1)) / Σᵢ (1 − 1/(nᵢ + 1)) with the learned sink's weight sᵢ, over the query rows i with "
            "nᵢ ≥ 1 visible keys: 0 is what a key of uniform attention gets, 1 is all weight."
        ),
        source=OURS,
        rows=_learned_sink_above_uniform,
        applies=_has_sinks,
    ),
)
