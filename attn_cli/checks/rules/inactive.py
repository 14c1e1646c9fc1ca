"""ATTN017: heads whose output is next to nothing beside that of the layer's other heads."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from attn_cli.attention.types import accumulation_dtype
from attn_cli.checks.evidence import Evidence
from attn_cli.inspection.findings.rules import Rule, place_in_call
from attn_cli.inspection.types import Finding

INACTIVE = 0.1  # of the layer's mean; the least head of twelve real layers has 0.37
SMALLEST_DIM = 4  # an output of fewer numbers may be small by chance: then it must be 0
SMALL_VALUES = 0.2  # of the layer's rms of V: then the values themselves are the cause


class Inactive:
    """Looks at every head's output norm over its layer's mean, averaged over the batch items."""

    rule = Rule(
        code="ATTN017",
        name="inactive head",
        severity="info",
        sentence="A head's output has less than a tenth of the layer's mean norm (after W_o where it is known).",
        why="Such a head adds next to nothing: it could be removed, or it was lost, by weights of 0 or a wrong slice.",
        example="All weight goes to a first token whose value is nearly 0; or a head's slice of W_v was never loaded.",
        source="Sandoval-Segura et al. 2025, arXiv 2504.03889",
    )

    def find(self, evidence: Evidence) -> tuple[Finding, ...]:
        """One finding with the least active head; nothing where heads were left out or there is only one."""
        metrics, index = evidence.inspection.metrics, evidence.index
        if len(index.heads) < 2 or not index.has_every_head:
            return ()
        name = "projected_norm" if "projected_norm" in metrics else "output_norm"
        norms = metrics[name]  # (B, Hq)
        relative = (norms / norms.mean(dim=1, keepdim=True)).nanmean(dim=0)  # (Hq,); NaN in a broken batch item
        inactive = relative < INACTIVE if evidence.inputs.v.shape[3] >= SMALLEST_DIM else relative == 0
        if not bool(norms.nan_to_num(1.0).any()):
            return (self._all_zero(evidence),)
        if not bool(inactive.any()):
            return ()
        least = int(relative.nan_to_num(math.inf).argmin())
        number = int(inactive.sum())
        what = "part of the projected output" if name == "projected_norm" else "output"
        message = (
            f"{number} of {len(relative)} heads {'is' if number == 1 else 'are'} inactive: the {what} of the least has "
            f"{float(relative[least]):.2g} of the layer's mean norm; {_cause(evidence, least)}"
        )
        hint = "If it is not a trained head's rest, check its slice of the projections."
        return (self.rule.finding(message, place_in_call(index, head=least), number, hint),)

    def _all_zero(self, evidence: Evidence) -> Finding:
        heads = len(evidence.index.heads)
        hint = "Check that v, or the output projection, holds the layer's numbers."
        return self.rule.finding(f"the output of all {heads} heads is 0", place_in_call(evidence.index), heads, hint)


def _cause(evidence: Evidence, head: int) -> str:
    inputs = evidence.inputs
    sizes = _sizes(inputs.v)  # (Hkv,)
    own = float(sizes[head // (inputs.q.shape[1] // inputs.k.shape[1])])
    ratio = own / max(float(sizes.mean()), torch.finfo(torch.float32).tiny)
    if ratio < SMALL_VALUES:
        return f"its values are small: v has {ratio:.2g} of the layer's root mean square"
    return "its values are not small, so it looks at keys whose values are, or they cancel, or W_o drops them"


def _sizes(v: Tensor) -> Tensor:
    """Root mean square of the finite values of every key/value head."""
    sound = torch.where(v.isfinite(), v, 0.0)
    norms: Tensor = torch.linalg.vector_norm(sound, dim=(0, 2, 3), dtype=accumulation_dtype(v.dtype))
    return norms / math.sqrt(v[:, 0].numel())
