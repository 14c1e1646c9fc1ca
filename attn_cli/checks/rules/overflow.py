"""ATTN007: logits beyond what the dtype can hold, or near it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from attn_cli.attention.blocks import row_blocks
from attn_cli.attention.masks import HIDING
from attn_cli.attention.types import AttentionInputs, dtype_name
from attn_cli.checks.evidence import Evidence
from attn_cli.checks.pieces import Piece, pieces
from attn_cli.checks.spread import visible_cells
from attn_cli.inspection.findings.rules import Rule, counted, place_in_call
from attn_cli.inspection.types import Finding

NEAR = 0.5  # of the dtype's largest number: another input half as large again may be beyond it
VALUES_AT_ONCE = 2**22
SCORES, SCALED, BIASED = "q·k", "the scaled logit", "the logit with its bias"
_Beyond = dict[tuple[str, float], tuple[int, int]]  # by stage and limit: cells above it, and cells below minus it


@dataclass
class _Largest:
    """The number of one stage that is largest in size over visible cells, those that are not finite left out."""

    value: float = 0.0
    place: tuple[int, int, int, int] = (0, 0, 0, 0)

    @property
    def size(self) -> float:
        return abs(self.value)

    def add(self, piece: Piece, logits: Tensor) -> None:
        """Take in ``(h, r, Sk)``; the place is one of the selection."""
        sizes = logits.abs()
        if float(sizes.max()) > self.size:
            head, row, key = (int(number) for number in torch.unravel_index(sizes.argmax(), sizes.shape))
            self.value = float(logits[head, row, key])
            self.place = (piece.items[head], piece.heads[head], piece.rows[row], key)


class Overflow:
    """Compares the sizes of q·k, the scaled logit and the logit with its bias with the dtype's largest number."""

    rule = Rule(
        code="ATTN007",
        name="logits overflow",
        severity="error",
        sentence="q·k, a scaled logit or a logit with its bias is larger than the dtype's largest number, or near it.",
        why="Softmax of +∞ is NaN. A fused kernel keeps q·k in float32 and may hide it; eager attention in float16 "
        "rounds q·k to float16 before the scale makes it smaller.",
        example="D = 128 and entries near 25 in q and k: q·k is 80 000, float16 ends at 65 504.",
        source="IEEE 754 binary16; PyTorch issue 110213; Micikevicius et al. 2018, Mixed Precision Training",
    )

    def find(self, evidence: Evidence) -> Iterator[Finding]:
        """One finding for the dtype of the kernel, and one for that of the file where it is narrower."""
        inputs = evidence.inputs
        ran, of_file = inputs.q.dtype, evidence.call.inputs.dtype
        dtypes = [ran] if torch.finfo(of_file).max >= torch.finfo(ran).max else [ran, of_file]
        dtypes = [dtype for dtype in dtypes if dtype != torch.float64]  # ATTN002 names what overflows there
        bound = _bound(inputs)
        dtypes = [dtype for dtype in dtypes if not bound < NEAR * torch.finfo(dtype).max]
        if not dtypes:
            return
        largest, beyond = _measure(inputs, tuple(torch.finfo(dtype).max for dtype in dtypes))
        for dtype in dtypes:
            finding = self._finding(evidence, dtype, largest, beyond)
            if finding is not None:
                yield finding

    def _finding(
        self, evidence: Evidence, dtype: torch.dtype, largest: dict[str, _Largest], beyond: _Beyond
    ) -> Finding | None:
        limit, name = torch.finfo(dtype).max, dtype_name(dtype)
        over = next((stage for stage, one in largest.items() if one.size > limit), None)
        stage = over or max(largest, key=lambda one: largest[one].size)
        worst = largest[stage]
        if worst.size < NEAR * limit:
            return None
        is_of_file = dtype != evidence.inputs.q.dtype
        dtype_said = f"{name}, the dtype of the file," if is_of_file else name
        place = place_in_call(evidence.index, None, *worst.place)
        hint = "Scale q by 1/√D before the product, or form the logits in float32 or bfloat16."
        if over is None:
            message = f"{stage} reaches {worst.value:.4g}, {worst.size / limit:.0%} of what {dtype_said} can hold"
            return self.rule.finding(message, place, None, hint, severity="warning")
        above, below = beyond[stage, limit]
        message = (
            f"{stage} reaches {worst.value:.4g}, and {dtype_said} ends at ±{limit:.5g}: it is infinite there in "
            f"{counted(above + below, 'visible cell')}{_fate(stage)}"
        )
        is_milder = is_of_file or not above  # −∞ takes a weight that is next to nothing anyway
        return self.rule.finding(message, place, above + below, hint, severity="warning" if is_milder else None)


def _fate(stage: str) -> str:
    return ", unless the kernel keeps q·k in float32 until it is scaled" if stage == SCORES else ""


def _measure(inputs: AttentionInputs, limits: tuple[float, ...]) -> tuple[dict[str, _Largest], _Beyond]:
    """The largest number of each stage, and the number of cells above and below each limit."""
    stages = [SCORES, SCALED] if inputs.rules.bias is None else [SCORES, SCALED, BIASED]
    largest = {stage: _Largest() for stage in stages}
    beyond = {(stage, limit): (0, 0) for stage in stages for limit in limits}
    if inputs.q.device.type == "mps":  # it has no float64
        inputs = inputs.to(torch.device("cpu"), inputs.q.dtype)
    for piece in pieces(inputs, dtype=torch.float64):
        visible = visible_cells(piece)
        for stage, logits in zip(stages, (piece.steps.scores, piece.steps.scaled, piece.steps.biased), strict=False):
            shown = torch.where(visible & logits.isfinite(), logits, 0.0)[0]  # (h, r, Sk)
            largest[stage].add(piece, shown)
            for limit in limits:
                above, below = beyond[stage, limit]
                beyond[stage, limit] = above + int((shown > limit).sum()), below + int((shown < -limit).sum())
    return largest, beyond


def _bound(inputs: AttentionInputs) -> float:
    """No finite logit of a visible cell can be larger at any stage (Cauchy and Schwarz)."""
    bias = inputs.rules.bias
    added = 0.0 if bias is None else _largest_added(bias)
    return _longest(inputs.q) * _longest(inputs.k) * max(abs(inputs.scale), 1.0) + added


def _largest_added(bias: Tensor) -> float:
    """The largest size of a finite number of a bias that is not there to hide a key."""
    largest = 0.0
    for block in row_blocks(bias.shape[2], bias[:, :, :1].numel(), VALUES_AT_ONCE):
        some = bias[:, :, block]
        largest = max(largest, float(torch.where(some.isfinite() & (some > HIDING), some, 0.0).abs().max()))
    return largest


def _longest(x: Tensor) -> float:
    """The largest norm of a row of finite numbers."""
    longest = 0.0
    for block in row_blocks(x.shape[2], x[:, :, 0].numel(), VALUES_AT_ONCE):
        some = x[:, :, block]
        sound = torch.where(some.isfinite(), some, 0.0).to("cpu", torch.float64)
        longest = max(longest, float(torch.linalg.vector_norm(sound, dim=-1).max()))
    return longest
