"""ATTN014: logits that are √D too large or too small for the whole call."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from attn_cli.attention.types import accumulation_dtype
from attn_cli.checks.evidence import Evidence
from attn_cli.inspection.findings.rules import Rule
from attn_cli.inspection.types import Finding, Place

USUAL = (0.5, 3.0)  # median over heads: 0.83-1.69 in the twelve layers of two captures of MiniLM, 1 for normal q and k
TOO_LARGE = 6.0  # with 1/√D: no measured layer comes near; a quarter of the heads at most may lie below
TOO_LARGE_GIVEN = 2.5  # where a scale was given that is at least half √D times as large as 1/√D
TOO_SMALL = 0.45  # at most a quarter of the heads may lie above; the least in the captures is 0.83
SMALLEST_DIM = 9  # below, √D is less than 3 and hides among the differences between models
FREEDOM = 8  # independent logits that a head's deviation must rest on


@dataclass(frozen=True)
class _Statistics:
    """Standard deviations of row-centred logits over the heads: quartiles and how many heads there are."""

    low: float
    median: float
    high: float
    heads: int


class Scale:
    """Judges the logits by their standard deviation within a row, the median over the heads."""

    rule = Rule(
        code="ATTN014",
        name="scale looks missing or doubled",
        severity="warning",
        sentence="The logits of nearly all heads vary √D times more, or √D times less, than they usually do.",
        why="Without 1/√D the softmax saturates, and with it twice attention is nearly uniform; both train badly and "
        "give wrong outputs with the weights of a model that was trained otherwise.",
        example="q is multiplied by 1/√D in the model already, and the kernel multiplies by 1/√D again.",
        source="Vaswani 2017, section 3.2.1; T5 (Raffel 2020) is the known model without a scale",
    )

    def find(self, evidence: Evidence) -> tuple[Finding, ...]:
        """One finding for the whole call, or none."""
        dim = evidence.inputs.q.shape[3]
        if dim < SMALLEST_DIM or evidence.inputs.scale == 0:
            return ()
        statistics = _statistics(evidence)
        if statistics is None:
            return ()
        finding = self._missing(evidence, statistics) or self._doubled(evidence, statistics)
        return () if finding is None else (finding,)

    def _missing(self, evidence: Evidence, seen: _Statistics) -> Finding | None:
        scale, root = abs(evidence.inputs.scale), math.sqrt(evidence.inputs.q.shape[3])
        ratio = scale * root  # to the usual scale
        is_given = ratio >= root / 2
        threshold, factor = (TOO_LARGE_GIVEN, ratio) if is_given else (TOO_LARGE, root)
        if seen.low < threshold or not _is_usual(seen.median / factor):
            return None
        said = f"the scale of {scale:.4g} is {ratio:.3g} times 1/√D = {1 / root:.4g}"
        if not is_given:
            said = f"although they were multiplied by {scale:.4g}, they are as large as without 1/√D = {1 / root:.4g}"
        message = (
            f"{_told(seen)}, and {said}; {factor:.3g} times smaller they would be at a usual {seen.median / factor:.3g}"
        )
        hint = f"Use --scale {1 / root:.6g}, unless the model was trained without a scale."
        if not is_given:
            hint = "See whether q or k was captured before its norm or multiplied by √D, and give --scale if so."
        return self.rule.finding(message, Place(), None, hint)

    def _doubled(self, evidence: Evidence, seen: _Statistics) -> Finding | None:
        scale, dim = abs(evidence.inputs.scale), evidence.inputs.q.shape[3]
        root = math.sqrt(dim)
        if seen.high > TOO_SMALL or not _is_usual(seen.median * root):
            return None
        ratio = _rms(evidence.inputs.q) / _rms(evidence.inputs.k)
        is_squared, is_scaled = 0.5 <= scale * dim <= 2, 0.5 <= ratio * root <= 2
        if not (is_squared or is_scaled):
            return None
        cause = (
            f"the scale of {scale:.4g} is about 1/D = {1 / dim:.4g}, not 1/√D = {1 / root:.4g}"
            if is_squared
            else f"q is {ratio:.3g} times as large as k, as if it had been multiplied by 1/√D = {1 / root:.4g} before"
        )
        usual = f"√D = {root:.3g} times larger they would be at a usual {seen.median * root:.3g}"
        message = f"{_told(seen)}, and {cause}; {usual}"
        wanted = 1 / root if is_squared else scale * root
        hint = f"Use --scale {wanted:.6g}, unless the model was trained with a scale of {scale:.4g} on this q."
        return self.rule.finding(message, Place(), None, hint)


def _statistics(evidence: Evidence) -> _Statistics | None:
    spread = evidence.spread
    measured: Tensor = spread.scaled[(spread.freedom >= FREEDOM) & spread.scaled.isfinite()]
    if measured.numel() == 0:
        return None
    low, median, high = (float(measured.quantile(share)) for share in (0.25, 0.5, 0.75))
    return _Statistics(low, median, high, measured.numel())


def _told(seen: _Statistics) -> str:
    heads = "1 head" if seen.heads == 1 else f"{seen.heads} heads of all batch items"
    return f"within a row the logits have a standard deviation of {seen.median:.3g} (median of {heads})"


def _is_usual(deviation: float) -> bool:
    return USUAL[0] <= deviation <= USUAL[1]


def _rms(x: Tensor) -> float:
    """Root mean square of the finite numbers."""
    sound = torch.where(x.isfinite(), x, 0.0)
    norm = torch.linalg.vector_norm(sound, dtype=accumulation_dtype(x.dtype))
    return float(norm) / math.sqrt(max(int(x.isfinite().sum()), 1))
