"""ATTN019: the kernel's output against float64, beyond what its dtype explains."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from attn_cli.attention.types import dtype_name
from attn_cli.checks.evidence import Evidence
from attn_cli.checks.exact import explained, pieces_of
from attn_cli.checks.pieces import Piece
from attn_cli.checks.spread import counted_heads, visible_cells
from attn_cli.inspection.findings.rules import Rule, place_in_call
from attn_cli.inspection.types import Finding

LARGE_LOGIT = 0.1  # from here on the dtype's step at the row's largest logit is told as the cause


@dataclass(frozen=True)
class _Worst:
    """The value that is farthest beyond what its row's tolerance allows; the place is one of the selection.

    ``step`` is the distance to the next number of the kernel's dtype at the row's largest logit, ``logit``.
    """

    excess: float
    place: tuple[int, int, int, int]
    exact: float
    found: float
    logit: float
    step: float


class Precision:
    """Compares evenly spaced rows of the kernel's output with float64 on the file's own numbers."""

    rule = Rule(
        code="ATTN019",
        name="precision lost",
        severity="warning",
        sentence="The kernel's output differs from the same call in float64 by more than its dtype explains.",
        why="Some loss belongs to a dtype. More means that something magnifies it: logits so large that the dtype "
        "rounds them by tenths, or a kernel that adds up in low precision.",
        example="Logits near 200 in bfloat16, whose numbers are 1 apart there: softmax turns that step into a factor "
        "of 2.7.",
        source="Higham 2002, Accuracy and Stability of Numerical Algorithms, chapters 2-4; transformers issues 41944 "
        "and 36585",
    )

    def find(self, evidence: Evidence) -> tuple[Finding, ...]:
        """One finding with the worst value, and how many heads are concerned; none in float64."""
        if evidence.inputs.q.dtype == torch.float64:
            return ()
        worst, heads = self._compare(evidence)
        return () if worst is None else (self._finding(evidence, worst, heads),)

    def _compare(self, evidence: Evidence) -> tuple[_Worst | None, int]:
        """The worst value, and in how many heads of how many batch items a value is too far off."""
        worst: _Worst | None = None
        heads: set[tuple[int, int]] = set()
        for piece in pieces_of(evidence, evidence.sampled_rows):
            output = piece.of(evidence.examined.output).double()  # (h, r, Dv)
            tolerance = explained(piece, evidence.inputs.q.dtype)[0]  # (h, r)
            error = (output - piece.steps.output[0]).abs()  # (h, r, Dv)
            sees = visible_cells(piece)[0].any(dim=-1, keepdim=True)  # a row of mask constants alone is ATTN010's
            beyond = torch.where(sees & error.isfinite(), error / tolerance[..., None], 0.0).nan_to_num(0.0)
            far = (int(head) for head in (beyond > 1).any(dim=(1, 2)).nonzero())
            heads |= {(piece.items[head], piece.heads[head]) for head in far}
            if float(beyond.max()) > max(1.0, worst.excess if worst else 0.0):
                worst = _at(piece, beyond, output, evidence.inputs.q.dtype)
        return worst, len(heads)

    def _finding(self, evidence: Evidence, worst: _Worst, heads: int) -> Finding:
        dtype, ran = dtype_name(evidence.inputs.q.dtype), evidence.examined.kernel.ran
        cause = ""
        hint = f"Compare with another backend; if {ran} alone is off, it adds up in lower precision."
        if worst.step >= LARGE_LOGIT:
            cause = f"; the row's largest logit is {worst.logit:.4g}, where {dtype} has steps of {worst.step:.2g}"
            hint = "Keep the logits small (the scale, or a norm on q and k), or compute in a wider dtype."
        message = (
            f"{ran} in {dtype} gives {worst.found:.6g} where float64 gives {worst.exact:.6g}: off by "
            f"{abs(worst.found - worst.exact):.3g}, {worst.excess:.3g} times what {dtype} explains"
            f"{_among(evidence)}; in {counted_heads(heads, evidence.inputs.q.shape[:2])} so{cause}"
        )
        batch, head, query, feature = worst.place
        place = replace(place_in_call(evidence.index, "output", batch, head, query), feature=feature)
        return self.rule.finding(message, place, heads, hint)


def _among(evidence: Evidence) -> str:
    rows, queries = len(evidence.sampled_rows), evidence.inputs.q.shape[2]
    return "" if rows == queries else f" (the worst of {rows} evenly spaced query rows)"


def _at(piece: Piece, beyond: Tensor, output: Tensor, dtype: torch.dtype) -> _Worst:
    head, row, feature = (int(number) for number in torch.unravel_index(beyond.argmax(), beyond.shape))
    logits = torch.where(visible_cells(piece), piece.steps.biased, 0.0)[0, head, row]
    logit = float(logits[logits.abs().argmax()])
    return _Worst(
        excess=float(beyond.max()),
        place=(piece.items[head], piece.heads[head], piece.rows[row], feature),
        exact=float(piece.steps.output[0, head, row, feature]),
        found=float(output[head, row, feature]),
        logit=logit,
        step=abs(logit) * torch.finfo(dtype).eps,
    )
