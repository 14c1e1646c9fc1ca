"""What an explanation is: one row of attention, and where asked one cell of it, as frozen records of numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from attn_cli.inputs.types import CallRecord
from attn_cli.inspection.types import Finding

Stage = Literal["scores", "scale", "softcap", "bias", "mask", "hide", "softmax", "mix", "projection"]
CauseKind = Literal["causal", "window left", "window right", "valid length", "keep mask", "bias", "mask constant"]


@dataclass(frozen=True)
class Wanted:
    """What to tell, in numbers of the whole call.

    Attributes:
        batch, head, query: the row.
        key: the cell's key, or None for the row.
        top: how many features or keys to tell one by one.
    """

    batch: int
    head: int
    query: int
    key: int | None = None
    top: int = 5


@dataclass(frozen=True)
class Words:
    """A step in words, those of the lesson where it has the step.

    Attributes:
        stage: which step it is.
        title: e.g. ``"Compare every query with every key"``.
        equation: e.g. ``"scores = Q · Kᵀ"``.
        sentence: what it does and why.
    """

    stage: Stage
    title: str
    equation: str
    sentence: str


@dataclass(frozen=True)
class Term:
    """One feature's part of a dot product."""

    feature: int
    first: float
    second: float
    product: float


@dataclass(frozen=True)
class Dot:
    """A dot product, told by its largest parts.

    Attributes:
        terms: the parts of the largest size, a part that is not finite before all others.
        others: how many features are not among them.
        rest: the sum of the others.
        total: the sum of all.
    """

    terms: tuple[Term, ...]
    others: int
    rest: float
    total: float


@dataclass(frozen=True)
class Cause:
    """A rule that hides keys from the query.

    Attributes:
        kind: which rule.
        sentence: what it says about this query, with its numbers.
        count: the keys that it hides from this query; one that two rules hide is counted by both.
    """

    kind: CauseKind
    sentence: str
    count: int


@dataclass(frozen=True)
class Extent:
    """The smallest and the largest number of a step over the visible keys, and the first key of each."""

    least: float
    least_key: int
    most: float
    most_key: int


@dataclass(frozen=True)
class Part:
    """What one key adds to a vector of the row: to the output, or to the projected output.

    Attributes:
        own_norm: ‖v‖, before the weight.
        norm: ‖weight · v‖.
        along: (weight · v) · output by feature.
        values: v at the features that ``along`` tells.
        share: ``along`` over ‖output‖²: the shares of all keys sum to 1, and one that points away is negative.
    """

    own_norm: float
    norm: float
    along: Dot
    values: tuple[float, ...]
    share: float


@dataclass(frozen=True)
class Cell:
    """One query → key cell, every step of it in float64.

    Attributes:
        key: its number.
        hidden_by: the rules that hide it; none where it is visible.
        score: q · k.
        scaled, capped, biased: after scale, softcap and bias; the one before where there is no softcap or bias.
        bias: what is added, or None.
        logit: what enters the softmax: ``biased`` where visible or hidden by a mask constant in the bias alone, else −∞
            or the mask value.
        exponential: exp(logit − reference).
        weight: after the softmax.
        part: what the key adds to the output.
        projected: what it adds to the head's part of the projected output, or None where W_o is not known.
    """

    key: int
    hidden_by: tuple[Cause, ...]
    score: Dot
    scaled: float
    capped: float
    bias: float | None
    biased: float
    logit: float
    exponential: float
    weight: float
    part: Part
    projected: Part | None

    @property
    def is_visible(self) -> bool:
        """True where no rule hides it."""
        return not self.hidden_by

    @property
    def is_outweighed(self) -> bool:
        """True where a mask constant in the bias alone hides it."""
        return [cause.kind for cause in self.hidden_by] == ["mask constant"]


@dataclass(frozen=True)
class TopKey:
    """One of the row's strongest keys.

    Attributes:
        key: its number.
        is_visible: False for a hidden key that a finite mask value leaves some weight.
        logit, weight: its own.
        running: its weight and those of all stronger keys.
        along: v · output.
        share: of the output's norm, weight · along / ‖output‖².
    """

    key: int
    is_visible: bool
    logit: float
    weight: float
    running: float
    along: float
    share: float


@dataclass(frozen=True)
class Row:
    """One query row of one head, every step of it in float64.

    Attributes:
        scale, softcap, sink, mask_value: of the call; None where there is none.
        is_default_scale: True for 1/√D.
        has_bias: True where a bias is added.
        scores, scaled, capped, biased: over the visible keys; None where no key is visible. Without a softcap or a bias
            they are those of the step before.
        rules: the kinds of rules that the row is under, whether or not they hide a key of it.
        causes: those that hide keys of it.
        visible: how many keys are visible.
        outweighed: how many keys a finite mask constant in the bias hides and no other rule does: their logits stay
            as they are, and e to them is next to nothing beside the others.
        largest: the largest logit that enters the softmax, with its key; None where every logit is −∞.
        reference: what is taken off every logit first: the largest logit or the sink; 0 where all are −∞.
        exponentials: Σⱼ exp(logitⱼ − reference) over the keys.
        sink_exponential: exp(sink − reference), or None.
        denominator: the sum of both.
        sink_weight: the sink's weight, or None.
        lse: ln Σⱼ exp(logitⱼ), without the sink.
        entropy: −Σⱼ Aⱼ ln Aⱼ in nats.
        effective_keys: exp(entropy).
        hidden_weight: what a finite mask value or constant leaves to hidden keys.
        top: the strongest keys.
        others: how many keys with a weight are not among them.
        output: weights · V.
        output_norm: ‖output‖.
        projected_norm: ‖output · W_o,hᵀ‖, this head's part of the projected output; None where W_o is not known.
    """

    scale: float
    is_default_scale: bool
    has_bias: bool
    softcap: float | None
    sink: float | None
    mask_value: float | None
    scores: Extent | None
    scaled: Extent | None
    capped: Extent | None
    biased: Extent | None
    rules: tuple[CauseKind, ...]
    causes: tuple[Cause, ...]
    visible: int
    outweighed: int
    largest: tuple[float, int] | None
    reference: float
    exponentials: float
    sink_exponential: float | None
    denominator: float
    sink_weight: float | None
    lse: float
    entropy: float
    effective_keys: float
    hidden_weight: float
    top: tuple[TopKey, ...]
    others: int
    output: tuple[float, ...]
    output_norm: float
    projected_norm: float | None


@dataclass(frozen=True)
class KernelRow:
    """What the kernel gives for the same row, beside the float64 output.

    Attributes:
        device, dtype, requested, ran, kernel: where and how it ran.
        reason: why it did not run, or None.
        output: its own, empty where it did not run.
        difference: the largest, over the features that are finite in both; None where there is none.
        feature: where that is.
        disagreements: features that are finite in one of the two only.
    """

    device: str
    dtype: str
    requested: str
    ran: str
    kernel: str
    reason: str | None
    output: tuple[float, ...]
    difference: float | None
    feature: int | None
    disagreements: int


@dataclass(frozen=True)
class Explanation:
    """One row, or one cell of it, told with its numbers; all numbers are 0-based in the whole call.

    Attributes:
        call: how it was read.
        batch, head, query: the row.
        kv_head: the key/value head that the query head reads; None where a recording left heads out.
        place: the query's aligned place on the axis of the keys.
        shape: ``(B, Hq, Sq, Sk)`` of the whole call.
        kv_heads, head_dim, value_dim: Hkv, D and Dv; Hkv is None where kv_head is.
        dtype: the file's.
        ties_queries_to_keys: True where the query is the token at its place.
        words: the steps in their order.
        row: every step of the row.
        cell: every step of the cell, where one was asked for.
        kernel: what the kernel gives.
        findings: what is wrong with the row.
    """

    call: CallRecord
    batch: int
    head: int
    query: int
    kv_head: int | None
    place: int
    shape: tuple[int, int, int, int]
    kv_heads: int | None
    head_dim: int
    value_dim: int
    dtype: str
    ties_queries_to_keys: bool
    words: tuple[Words, ...]
    row: Row
    cell: Cell | None
    kernel: KernelRow
    findings: tuple[Finding, ...]

    def token(self, key: int) -> str | None:
        """The token of a key, as the file has it; None where unknown."""
        tokens = self.call.tokens
        row = () if tokens is None or self.batch >= len(tokens) else tokens[self.batch]
        return row[key] if 0 <= key < len(row) else None

    @property
    def query_token(self) -> str | None:
        """The token of the query, where it is the one at its place."""
        return self.token(self.place) if self.ties_queries_to_keys else None
