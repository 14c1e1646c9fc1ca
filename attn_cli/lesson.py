"""The lesson of ``attn demo --steps``: one call told step by step, with its real numbers."""

from __future__ import annotations

import torch
from torch import Tensor

from attn_cli.attention import textbook
from attn_cli.attention.selection import Selection, select
from attn_cli.attention.textbook import Steps
from attn_cli.attention.types import AttentionInputs, LinearWeights, ModuleInputs, accumulation_dtype
from attn_cli.inspection.findings.rules import counted
from attn_cli.results import Lesson, LessonStep

ROWS = 6
COLUMNS = 12
HEADS_AXES = ("B", "Hq", "Sq", "Sk")


def build_lesson(module: ModuleInputs) -> Lesson:
    """Every step from the linear projections to the output projection, shown at batch item 0 and head 0.

    Args:
        module: the call; only its first batch item and its first query rows are computed.
    """
    module = module.to(torch.device("cpu"), accumulation_dtype(module.queries.dtype))
    with torch.no_grad():
        inputs = textbook.project_inputs(module)
        first = select(inputs, Selection(batch=(0,)))
        steps = textbook.attend(first, slice(0, ROWS))
        told = [*_projections(module), *_heads(inputs), *_scores(first, steps, module), *_combination(module, steps)]
    return Lesson(tuple(told))


def _step(
    words: tuple[str, str, str], shape: tuple[int, ...], axes: tuple[str, ...], numbers: Tensor, of: tuple[str, str]
) -> LessonStep:
    """A step from (title, equation, sentence), the whole shape, and the matrix its numbers are cut from."""
    title, equation, sentence = words
    excerpt = numbers[:ROWS, :COLUMNS]
    return LessonStep(
        title,
        equation,
        sentence,
        shape,
        axes,
        excerpt,
        row_axis=of[0],
        column_axis=of[1],
        more_rows=shape[-2] > excerpt.shape[0],
        more_columns=shape[-1] > excerpt.shape[1],
    )


def _projections(module: ModuleInputs) -> list[LessonStep]:
    """The inputs, and the three linear layers."""
    same = module.keys is module.values or torch.equal(module.keys, module.values)
    come = "Keys and values come in" if same else "Keys come in"
    told = [
        _input("Queries come in", "queries", "One row of features a query.", module.queries),
        _input(come, "keys = values" if same else "keys", "One row of features a key.", module.keys),
    ]
    if not same:
        told.append(_input("Values come in", "values", "One row of features a value.", module.values))
    for letter, name, x, layer, purpose in (
        ("q", "query", module.queries, module.W_q, "what it looks for"),
        ("k", "key", module.keys, module.W_k, "what it can be found by"),
        ("v", "value", module.values, module.W_v, "what it hands over to a query that attends to it"),
    ):
        result = textbook.project(x, layer)  # (B, S, H·D)
        plural = "queries" if name == "query" else f"{name}s"
        words = (
            f"Linear {letter.upper()}",
            f"{letter.upper()} = {plural} · W_{letter}ᵀ{_plus_bias(layer, letter)}",
            f"A learned linear layer turns each {name}'s features into {purpose}.",
        )
        axes = {"q": ("B", "Sq", "Hq·D"), "k": ("B", "Sk", "Hkv·D"), "v": ("B", "Sk", "Hkv·Dv")}[letter]
        told.append(_step(words, tuple(result.shape), axes, result[0], (name, "feature")))
    return told


def _input(title: str, name: str, sentence: str, x: Tensor) -> LessonStep:
    row = "query" if name == "queries" else "key" if name.startswith("keys") else "value"
    axes = ("B", "Sq" if row == "query" else "Sk", "E")
    return _step((title, name, sentence), tuple(x.shape), axes, x[0], (row, "feature"))


def _plus_bias(layer: LinearWeights, letter: str) -> str:
    return "" if layer.bias is None else f" + b_{letter}"


def _heads(inputs: AttentionInputs) -> list[LessonStep]:
    """Splitting into heads, shown on Q."""
    told = []
    for letter, x, rows in (("Q", inputs.q, "query"), ("K", inputs.k, "key"), ("V", inputs.v, "value")):
        heads = "Hq" if letter == "Q" else "Hkv"
        axes = ("B", heads, "Sq" if letter == "Q" else "Sk", "Dv" if letter == "V" else "D")
        words = (
            f"Split heads of {letter}",
            f"{letter}: (B, {axes[2]}, {heads}·{axes[3]}) → (B, {heads}, {axes[2]}, {axes[3]})",
            _split_sentence(inputs, x),
        )
        told.append(_step(words, tuple(x.shape), axes, x[0, 0], (rows, "feature")))
    return told


def _split_sentence(inputs: AttentionInputs, x: Tensor) -> str:
    heads, features = x.shape[1], x.shape[-1]
    if heads == 1:
        sentence = f"There is one head, and it takes all {counted(features, 'feature')}."
    else:
        sentence = (
            f"Head 0 takes the first {counted(features, 'feature')}, head 1 the next, and each attends on its own."
        )
    groups = inputs.q.shape[1] // heads
    return sentence if groups == 1 else f"{sentence} Every {groups} query heads share one of these."


def _scores(first: AttentionInputs, steps: Steps, module: ModuleInputs) -> list[LessonStep]:
    """From Q·Kᵀ to the mixed values."""
    rules, features = first.rules, first.q.shape[-1]
    shape = (module.queries.shape[0], first.q.shape[1], module.queries.shape[1], module.keys.shape[1])
    told = [
        (
            ("Compare every query with every key", "scores = Q · Kᵀ", "A large dot product says: these two match."),
            steps.scores,
        ),
        (
            (
                "Scale",
                _scale_equation(first),
                f"Dot products of {counted(features, 'feature')} grow with √{features}; this undoes it.",
            ),
            steps.scaled,
        ),
    ]
    if rules.mask.hides_anything:
        keep = first.rules.mask.tile(slice(0, ROWS))
        visible = torch.ones_like(steps.scaled, dtype=torch.bool) if keep is None else keep.expand_as(steps.scaled)
        told.append((("Mask", "which keys may be attended to", _mask_sentence(module)), visible))
        told.append(
            (
                ("Hide", "logits = scaled where visible, else −∞", "e to the −∞ is 0: a hidden key gets no weight."),
                steps.masked,
            )
        )
    told.append(
        (
            (
                "Softmax",
                "weights = exp(logits) / Σ exp(logits)",
                "Each query's weights are at least 0 and sum to 1; a query that may see no key gets zeros.",
            ),
            steps.weights,
        )
    )
    steps_told = [_step(words, shape, HEADS_AXES, x[0, 0], ("query", "key")) for words, x in told]
    words = (
        "Weighted sum of the values",
        "output = weights · V",
        "Each query's output is the weighted mean of the values it attends to.",
    )
    output_shape = (*shape[:3], first.v.shape[-1])
    output = _step(words, output_shape, ("B", "Hq", "Sq", "Dv"), steps.output[0, 0], ("query", "feature"))
    return [*steps_told, output]


def _scale_equation(inputs: AttentionInputs) -> str:
    if inputs.rules.scale is None:
        features = inputs.q.shape[-1]
        return f"scaled = scores / √D = scores / √{features} = scores · {inputs.scale:.4f}"
    return f"scaled = scores · {inputs.scale:.4g}"


def _mask_sentence(module: ModuleInputs) -> str:
    mask = module.rules.mask
    reasons = []
    if mask.valid_lens is not None and mask.valid_lens.dim() == 1:
        reasons.append(f"batch item 0 has {int(mask.valid_lens[0])} valid keys of {mask.num_keys}")
    elif mask.valid_lens is not None:
        reasons.append(f"each query of batch item 0 has its own count of valid keys of {mask.num_keys}")
    if mask.causal:
        reasons.append("a query sees no key after its own place")
    if mask.window is not None:
        reasons.append("a query sees the keys inside its window")
    sentence = "; ".join(reasons) or "some keys are hidden"
    return f"{sentence[0].upper()}{sentence[1:]}: 1 = may attend, 0 = hidden."


def _combination(module: ModuleInputs, steps: Steps) -> list[LessonStep]:
    """The heads side by side again, and the output projection."""
    combined = textbook.combine_heads(steps.output)  # (1, r, Hq·Dv)
    batch, queries = module.queries.shape[:2]
    words = (
        "Combine heads",
        "(B, Hq, Sq, Dv) → (B, Sq, Hq·Dv)",
        "The heads' outputs stand side by side again: head 0 first.",
    )
    shape = (batch, queries, combined.shape[-1])
    told = [_step(words, shape, ("B", "Sq", "Hq·Dv"), combined[0], ("query", "feature"))]
    if module.W_o is None:
        return told
    projected = textbook.project(combined, module.W_o)  # (1, r, E)
    words = (
        "Output projection",
        f"Y = combined · W_oᵀ{_plus_bias(module.W_o, 'o')}",
        "A last linear layer lets the heads' results work together.",
    )
    shape = (batch, queries, projected.shape[-1])
    return [*told, _step(words, shape, ("B", "Sq", "E"), projected[0], ("query", "feature"))]
