"""ATTN010: a finite constant that does not hide what it was to hide."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from attn_cli.attention.masks import HIDING
from attn_cli.attention.types import accumulation_dtype, dtype_name
from attn_cli.checks.evidence import Evidence
from attn_cli.checks.patterns import BIAS, MASK, Pattern, chosen, count_seen, every_part, hiding_constants
from attn_cli.checks.pieces import pieces
from attn_cli.inspection.findings.rules import Rule, counted, place_in_call
from attn_cli.inspection.types import Finding, Place

SMALL_LEAK = 1e-6  # of a row's weight: less is within float32's own rounding (torch.testing allows 1.3e-6)
LARGE_LEAK = 1e-3  # float16's tolerance: from here on every dtype shows it
WEAK = -5.0  # a bias of 0 and one negative number is a mask from here down: exp(-5) is below 1 %
FINITE_CONSTANT = Rule(
    code="ATTN010",
    name="finite mask constant leaks",
    severity="error",
    sentence="Keys that a finite constant was to hide get more than 0.1 % of a row's weight (less, down to 1e-6, is a "
    "warning); or the constant hides a whole row, whose weights are then those of the hidden keys (info).",
    why="A constant hides a key only as far as it exceeds the logits: beside logits of its own size, or in a row where "
    "everything is hidden, it cancels out. In float16 it may also be rounded to -inf, or two of them added up to it.",
    example="With a mask value of -10 in place of -inf, 100 hidden keys keep about 0.5 % of the weight of one visible "
    "key; with -1e9 in every cell of a row, the row attends to padding.",
    source="Zhang et al., Dive into Deep Learning, 11.3 (masked_softmax with -1e6)",
)


@dataclass(frozen=True)
class _Leak:
    """Weight on hidden keys: the rows with more than SMALL_LEAK, and the worst of them."""

    rows: int
    largest: float
    place: Place


@dataclass(frozen=True)
class FiniteConstant:
    """Looks at the mask value and at the constants of the bias; masks of -inf are none of its business."""

    rule: Rule = FINITE_CONSTANT

    def find(self, evidence: Evidence) -> Iterator[Finding]:
        """At most one finding for the mask value and two for the bias."""
        rules = evidence.inputs.rules
        if rules.mask.value is not None:
            leak = _leak_of_value(evidence)
            if leak is not None:
                yield self._leaking(f"the mask value {rules.mask.value:g}", leak)
        hidings = _hidings(evidence)
        constants = sorted({constant for hiding in hidings for constant in hiding.constants})
        if any(constant > -math.inf for constant in constants):
            finite = [constant for constant in constants if constant > -math.inf]
            name = f"the bias's {' and '.join(f'{c:g}' for c in finite)}"
            empty = _whole_rows(evidence, hidings)
            leak = _leak_of_bias(evidence, hidings, empty)
            if leak is not None:
                yield self._leaking(name, replace(leak, place=replace(leak.place, tensor="bias")))
            if bool(empty.any()):
                yield self._whole_rows(evidence, name, min(finite), empty)

    def _leaking(self, name: str, leak: _Leak) -> Finding:
        share = f"{leak.largest:.2%}" if leak.largest >= LARGE_LEAK else f"{leak.largest:.1e}"
        message = (
            f"{name} leaves weight on the keys that it hides: up to {share} of a row's weight, more than "
            f"{SMALL_LEAK:g} in {counted(leak.rows, 'query row')}"
        )
        hint = "Hide with -inf or a boolean mask; a finite constant must be far below every logit."
        severity = "error" if leak.largest >= LARGE_LEAK else "warning"
        return self.rule.finding(message, leak.place, leak.rows, hint, severity)  # type: ignore[arg-type]

    def _whole_rows(self, evidence: Evidence, name: str, least: float, empty: Tensor) -> Finding:
        """Rows in which the bias hides every key that the mask leaves, and not all of them with -inf."""
        place = replace(_first_place(evidence, empty), tensor="bias")
        rows, dtype = int(empty.sum()), evidence.inputs.q.dtype
        cast = ""
        if least < torch.finfo(dtype).min:
            cast = f"; in {dtype_name(dtype)} it would be -inf and the row NaN or 0"
        message = (
            f"{name} hides every key of {counted(rows, 'query row')}: added to all logits of a row it cancels out, and "
            f"the weights are spread over hidden keys{cast}"
        )
        hint = "Do not read the output of these rows, or give them a key to attend to; -inf would give 0 or NaN."
        return self.rule.finding(message, place, rows, hint, "info")


@dataclass(frozen=True)
class _Hiding:
    """A bias that is there to hide keys, by itself.

    Attributes:
        numbers: of the selected part, as they are added; they broadcast to ``(B, Hq, Sq, Sk)``.
        constants: with which it hides, lowest first.
        added: the largest number that the call's other biases add.
    """

    numbers: Tensor
    constants: tuple[float, ...]
    added: float

    @property
    def limit(self) -> float:
        """It hides where its number is this one or below."""
        return max(self.constants)

    @property
    def pattern(self) -> Pattern:
        """Where it hides, as a mask."""
        return Pattern(MASK, ~(self.numbers <= self.limit), self.numbers.shape[3])


def _hidings(evidence: Evidence) -> tuple[_Hiding, ...]:
    """The biases that hide; where one was added to another, that a mask is among them shows in none but itself."""
    bias = evidence.inputs.rules.bias
    if bias is None:
        return ()
    biases = [chosen(part.numbers, evidence.within) for part in evidence.parts if part.kind == BIAS]
    biases = [one.to(bias.device, bias.dtype) for one in biases]
    largest = [float(one.amax().nan_to_num(0.0)) for one in biases]
    every = ((one, _constants(one), sum(largest) - own) for one, own in zip(biases, largest, strict=True))
    return tuple(_Hiding(*one) for one in every if one[1])


def _constants(bias: Tensor) -> tuple[float, ...]:
    """The numbers with which a bias hides, lowest first."""
    far = hiding_constants(bias)
    if far:
        return far
    numbers = hiding_constants(bias, highest=math.inf)
    return numbers[:1] if len(numbers) == 2 and numbers[0] <= WEAK and numbers[1] == 0 else ()


def _first_place(evidence: Evidence, marked: Tensor) -> Place:
    """Of ``(B or 1, Hq or 1, Sq)``: the first marked row; what all batch items or heads share is not named."""
    batch, head, query = (int(number) for number in marked.nonzero()[0])
    shape = evidence.inputs.weights_shape
    return place_in_call(
        evidence.index,
        batch=None if marked.shape[0] < shape[0] else batch,
        head=None if marked.shape[1] < shape[1] else head,
        query=query,
    )


def _leak(evidence: Evidence, shares: Tensor) -> _Leak | None:
    """From the weight on hidden keys in each row, ``(B, Hq, Sq)``; 0 in rows that do not count."""
    largest = float(shares.max())
    if not largest > SMALL_LEAK:
        return None
    batch, head, query = (int(n) for n in torch.unravel_index(shares.argmax(), shares.shape))
    return _Leak(int((shares > SMALL_LEAK).sum()), largest, place_in_call(evidence.index, None, batch, head, query))


def _leak_of_value(evidence: Evidence) -> _Leak | None:
    """All hidden logits of a row are the constant, so that their weight follows from their number and the lse.

    A row without any visible key is ATTN003's.
    """
    rules, lse = evidence.inputs.rules, evidence.inspection.lse
    assert rules.mask.value is not None
    assert lse is not None  # every inspection has it
    visible = rules.mask.visible_keys().cpu()  # (B or 1, Hq or 1, Sq)
    hidden = (rules.mask.num_keys - visible).expand(lse.shape)
    shares = hidden * torch.exp(rules.mask.value - _total(lse, rules.sinks)) * (visible > 0)
    return _leak(evidence, shares.nan_to_num(0.0))


def _total(lse: Tensor, sinks: Tensor | None) -> Tensor:
    """ln of the softmax's denominator, ``(B, Hq, Sq)`` float64."""
    lse = lse.double().cpu()
    return lse if sinks is None else torch.logaddexp(lse, sinks.double().cpu()[None, :, None].expand_as(lse))


def _leak_of_bias(evidence: Evidence, hidings: tuple[_Hiding, ...], empty: Tensor) -> _Leak | None:
    """Walks the rows in which a hidden logit can matter; there are none where the constant is far below all logits."""
    inputs = evidence.inputs
    rows = _rows_that_may_leak(evidence, max(one.limit + one.added for one in hidings), empty)
    if len(rows) > len(evidence.sampled_rows) and math.prod(inputs.weights_shape) > 2**31:
        rows = tuple(row for row in evidence.sampled_rows if row in set(rows))
    if not rows:
        return None
    shares = torch.zeros(inputs.weights_shape[:3], dtype=torch.float64)
    for piece in pieces(inputs, rows):
        weights, keep = piece.steps.weights, piece.steps.keep
        visible = torch.ones_like(weights, dtype=torch.bool)
        for one in hidings:
            visible &= ~(piece.of(one.numbers.expand(inputs.weights_shape)) <= one.limit)
        seen = visible if keep is None else visible & keep
        share = torch.where(visible, 0.0, weights).sum(dim=-1) * seen.any(dim=-1)  # (1, h, r)
        shares[piece.places] = share[0].double().cpu()
    return _leak(evidence, shares.nan_to_num(0.0))


def _rows_that_may_leak(evidence: Evidence, limit: float, empty: Tensor) -> tuple[int, ...]:
    """Query rows in which Sk keys with the largest logit that is possible, plus the constant, would show."""
    inputs, lse = evidence.inputs, evidence.inspection.lse
    assert lse is not None  # every inspection has it
    dtype = accumulation_dtype(inputs.q.dtype)
    norms = [torch.linalg.vector_norm(x, dim=-1, dtype=dtype).amax() for x in (inputs.q, inputs.k)]
    largest = float(norms[0] * norms[1]) * abs(inputs.scale)
    cap = inputs.rules.softcap
    largest = largest if cap is None else min(largest, abs(cap))
    room = largest + limit + math.log(inputs.weights_shape[3])
    shows = (_total(lse, inputs.rules.sinks) < room - math.log(SMALL_LEAK)) & ~empty.expand(lse.shape)
    return tuple(shows.any(dim=0).any(dim=0).nonzero().flatten().tolist())


def _whole_rows(evidence: Evidence, hidings: tuple[_Hiding, ...]) -> Tensor:
    """Rows with keys that the mask shows, all of them hidden by the bias, some by a finite constant.

    Returns:
        bool, ``(B or 1, Hq or 1, Sq)``, on the CPU.
    """
    rules = evidence.inputs.rules
    masks = [part for part in every_part(rules) if part.kind == MASK]
    is_far = all(one.limit <= HIDING for one in hidings)
    count = evidence.seen_keys if is_far else count_seen(rules.mask, [*masks, *(one.pattern for one in hidings)])
    if not bool((count == 0).any()):
        return count == 0
    finite = [Pattern(MASK, one.numbers != -torch.inf, rules.mask.num_keys) for one in hidings]
    return (count == 0) & (count_seen(rules.mask, [*masks, *finite]) > 0)
