"""The names of all metrics, so that a wrong one is refused before torch is imported. Free of torch."""

from __future__ import annotations

METRIC_NAMES = (
    "entropy",
    "entropy_normalized",
    "effective_span",
    "confidence",
    "confidence_above_uniform",
    "attention_distance",
    "distance_ratio",
    "self_score",
    "previous_score",
    "next_score",
    "self_above_uniform",
    "previous_above_uniform",
    "next_above_uniform",
    "sink_score",
    "sink_above_uniform",
    "first4_mass",
    "learned_sink_mass",
    "learned_sink_above_uniform",
    "max_logit",
    "output_norm",
    "output_norm_relative",
    "projected_norm",
    "projected_norm_relative",
    "induction_score",
    "duplicate_score",
    "fully_masked_rows",
    "nonfinite",
)
