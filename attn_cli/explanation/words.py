"""The steps in words: those of the lesson of ``attn demo --steps``, and the two that the lesson does not need."""

from __future__ import annotations

from attn_cli.explanation.types import Row, Words
from attn_cli.inspection.findings.rules import counted

COMPARE = ("Compare every query with every key", "scores = Q · Kᵀ", "A large dot product says: these two match.")
SOFTCAP = ("Softcap", "capped = c · tanh(scaled / c)", "It keeps every logit between −c and c.")
BIAS = ("Bias", "biased = {before} + bias", "A number for each pair is added, such as a position's.")
MASK = ("Mask", "which keys may be attended to", "A rule that hides a key from this query is told with its reason.")
HIDE = (
    "Hide",
    "logits = {before} where visible, else {hidden}",
    "e to the −∞ is 0: a hidden key gets no weight.",
)
SOFTMAX = (
    "Softmax",
    "weights = exp(logits) / Σ exp(logits)",
    "Each query's weights are at least 0 and sum to 1; a query that may see no key gets zeros.",
)
MIX = (
    "Weighted sum of the values",
    "output = weights · V",
    "Each query's output is the weighted mean of the values it attends to.",
)
PROJECTION = (
    "Output projection",
    "Y = combined · W_oᵀ",
    "A last linear layer lets the heads' results work together; told is this head's part of Y.",
)
LEAKS = "A finite mask value hides a key only as far as exp of it is small beside the others."
WITH_SINK = " The sink is one more logit in the sum, and takes its weight without a value."


def words_of(row: Row, head_dim: int, num_keys: int) -> tuple[Words, ...]:
    """The steps that this row takes, in their order."""
    told = [Words("scores", *COMPARE), _scale(row, head_dim)]
    before = "scaled"
    if row.softcap is not None:
        told.append(Words("softcap", *SOFTCAP))
        before = "capped"
    if row.has_bias:
        told.append(Words("bias", BIAS[0], BIAS[1].format(before=before), BIAS[2]))
        before = "biased"
    if row.rules:
        told.append(Words("mask", *MASK))
    if row.visible + row.outweighed < num_keys:
        value = row.mask_value
        hidden = "−∞" if value is None else f"{value:.10g}"
        told.append(Words("hide", HIDE[0], HIDE[1].format(before=before, hidden=hidden), LEAKS if value else HIDE[2]))
    sentence = SOFTMAX[2] + (WITH_SINK if row.sink is not None else "")
    told.append(Words("softmax", *SOFTMAX[:2], sentence))
    told.append(Words("mix", *MIX))
    return (*told, Words("projection", *PROJECTION)) if row.projected_norm is not None else tuple(told)


def _scale(row: Row, head_dim: int) -> Words:
    if row.is_default_scale:
        sentence = f"Dot products of {counted(head_dim, 'feature')} grow with √{head_dim}; this undoes it."
        return Words("scale", "Scale", f"scaled = scores / √D = scores / √{head_dim}", sentence)
    return Words("scale", "Scale", "scaled = scores · scale", "The scale was given, in place of 1/√D.")
