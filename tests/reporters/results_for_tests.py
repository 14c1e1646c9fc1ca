"""Hand-made results with exact, simple numbers, so that what is printed depends on no kernel's last bits."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from attn_cli.attention.masks import aligned_places
from attn_cli.attention.selection import Selection
from attn_cli.attention.types import CallIndex
from attn_cli.inputs.types import CallRecord, Convention, TensorInfo
from attn_cli.inspection.options import Zoom
from attn_cli.inspection.types import Finding, Inspection, Pictures, Place, TopPairs, Verification
from attn_cli.results import CallResult, Lesson, LessonStep, Outputs, OutputSummary, RunResult, RunTiming, StepShape

FEATURES = 2
METRIC_NAMES = (
    "entropy",
    "entropy_normalized",
    "effective_span",
    "confidence",
    "attention_distance",
    "self_score",
    "previous_score",
    "next_score",
    "sink_score",
    "first4_mass",
    "max_logit",
    "output_norm",
    "output_norm_relative",
    "fully_masked_rows",
    "nonfinite",
)
LABELS = ("previous-token", "sink", "mixed", "broad", "focused", "local", "next-token", "self", "inactive")


@dataclass(frozen=True)
class Case:
    """What a hand-made call is like; B, Hq, Sq, Sk and what goes with them."""

    batch: int = 1
    heads: int = 2
    queries: int = 3
    keys: int = 4
    valid_lens: tuple[int, ...] | None = None
    causal: bool = False
    tokens: tuple[tuple[str, ...], ...] | None = None
    layer: int | None = None
    prefix: str = ""
    source: str = "case.safetensors"
    pool: tuple[int, int] = (1, 1)
    has_sinks: bool = False
    broken_head: int | None = None
    empty_row: int | None = None
    findings: tuple[Finding, ...] = ()
    with_weights: bool = False
    with_similarity: bool = False
    with_projection: bool = False
    backend_note: str | None = None
    selection: Selection = field(default_factory=Selection)
    unused: tuple[TensorInfo, ...] = ()
    conventions: tuple[Convention, ...] = (Convention("scale", "0.7071 = 1/√2", "default"),)
    verification: Verification | None = None
    zoom: Zoom | None = None


def make_result(*cases: Case, command: str = "run") -> RunResult:
    """A result with one call a case."""
    return RunResult(command, tuple(make_call(case) for case in cases))


def make_call(case: Case) -> CallResult:
    """The call of a case."""
    weights, sink = _weights(case)
    output = torch.arange(case.batch * case.heads * case.queries * FEATURES, dtype=torch.float32)
    output = output.reshape(case.batch, case.heads, case.queries, FEATURES) / 8
    return CallResult(
        call=_record(case),
        places=aligned_places(case.queries, case.keys),
        num_keys=case.keys,
        ties_queries_to_keys=case.causal or case.queries == case.keys,
        device="cpu",
        dtype="float32",
        backend_requested="auto",
        backend_ran="flash",
        kernel="_scaled_dot_product_flash_attention_for_cpu",
        backend_note=case.backend_note,
        shapes=_shapes(case),
        timing=RunTiming(load=1.25, to_device=0.05, attention=(0.5, 0.25, 0.75), inspection=12.5),
        inspection=_inspection(case, weights, sink, output),
        verification=case.verification or Verification(2.4e-07, "flash", 0, Place(None, 0, 1, 2), 1e-05),
        summary=_summary(case, output),
        outputs=_outputs(case, output),
    )


def _outputs(case: Case, output: Tensor) -> Outputs:
    projected = output.transpose(1, 2).flatten(2) if case.with_projection else None
    return Outputs(output, torch.zeros(case.batch, case.heads, case.queries), projected)


def _summary(case: Case, output: Tensor) -> OutputSummary:
    shape = (case.batch, case.queries, case.heads * FEATURES) if case.with_projection else tuple(output.shape)
    return OutputSummary("projected" if case.with_projection else "heads", shape, 0.25, 1.5, -2.0, math.inf)


def _record(case: Case) -> CallRecord:
    queries, keys = ((case.batch, case.heads, size, FEATURES) for size in (case.queries, case.keys))
    start = f"{case.prefix}." if case.prefix else ""
    shapes = (("q", queries), ("k", keys), ("v", keys))
    return CallRecord(
        source=case.source,
        prefix=case.prefix,
        layer=case.layer,
        selection=case.selection,
        tensors=tuple(TensorInfo(f"{start}{name}", shape, "float32", name) for name, shape in shapes),
        unused=case.unused,
        conventions=case.conventions,
        tokens=case.tokens,
        align="bottom-right",
        align_chosen=True,
    )


def _shapes(case: Case) -> tuple[StepShape, ...]:
    weights = (case.batch, case.heads, case.queries, case.keys)
    steps = [("Q", (*weights[:3], FEATURES)), ("K", (*weights[:2], case.keys, FEATURES)), ("QKᵀ", weights)]
    steps += [("softmax", weights), ("weights · V", (*weights[:3], FEATURES))]
    return tuple(StepShape(step, shape) for step, shape in steps)


def _visible(case: Case) -> Tensor:
    """(B, Hq, Sq, Sk)"""
    shape = (case.batch, case.heads, case.queries, case.keys)
    keys = torch.arange(case.keys)
    visible = torch.ones(shape, dtype=torch.bool)
    if case.valid_lens is not None:
        visible &= keys < torch.tensor(case.valid_lens)[:, None, None, None]
    if case.causal:
        visible &= keys <= aligned_places(case.queries, case.keys)[:, None]
    if case.empty_row is not None:
        visible[:, :, case.empty_row] = False
    return visible


def _weights(case: Case) -> tuple[Tensor, Tensor | None]:
    """Every head's weights, each row whole numbers over their sum, and the sink's share of a tenth."""
    b, h, q, k = (torch.arange(size) for size in (case.batch, case.heads, case.queries, case.keys))
    places = 7 * b[:, None, None, None] + 5 * h[:, None, None] + 3 * q[:, None] + 11 * k
    whole = ((places % 13) ** 3).double() * _visible(case)
    rows = whole.sum(-1, keepdim=True)
    weights = whole / rows.clamp(min=1)
    if case.broken_head is not None:
        weights[:, case.broken_head, 1] = math.nan
    if not case.has_sinks:
        return weights, None
    return weights * 0.9, torch.full(weights.shape[:3], 0.1, dtype=torch.float64)


def _inspection(case: Case, weights: Tensor, sink: Tensor | None, output: Tensor) -> Inspection:
    selection = case.selection
    batch = selection.batch or tuple(range(case.batch))
    heads = selection.heads or tuple(range(case.heads))
    index = CallIndex(
        batch,
        heads,
        torch.arange(case.queries),
        max(batch) + 1,
        max(heads) + 1,
        case.queries,
    )
    similarity = (1 - torch.eye(case.heads, dtype=torch.float64)).expand(case.batch, -1, -1) / 4
    return Inspection(
        index=index,
        metrics=_metrics(case),
        labels=tuple(tuple(_label(case, b, h) for h in range(case.heads)) for b in range(case.batch)),
        pictures=_pictures(case, weights, sink),
        top=_top(weights, _visible(case)),
        output=output,
        lse=torch.zeros(output.shape[:3]),
        weights=weights if case.with_weights else None,
        sink_weights=sink if case.with_weights else None,
        similarity=similarity.contiguous() if case.with_similarity else None,
        findings=case.findings,
    )


def _label(case: Case, batch: int, head: int) -> str:
    return "broken" if head == case.broken_head else LABELS[(head + batch * (head % 4 == 1)) % len(LABELS)]


def _metrics(case: Case) -> dict[str, Tensor]:
    """Multiples of an eighth; counts for what is broken or empty."""
    b, h = torch.arange(case.batch)[:, None], torch.arange(case.heads)
    metrics = {
        name: ((3 * number + 2 * b + h) % 8).double() / 8 + (number % 3 == 2)
        for number, name in enumerate(METRIC_NAMES)
    }
    counts = torch.zeros(case.batch, case.heads, dtype=torch.float64)
    metrics["fully_masked_rows"] = counts + (case.empty_row is not None)
    metrics["nonfinite"] = counts.clone()
    metrics["self_score"] = torch.full_like(counts, math.nan)
    if case.broken_head is not None:
        metrics["nonfinite"][:, case.broken_head] = 1
        for name in METRIC_NAMES[:5]:
            metrics[name][:, case.broken_head] = math.nan
    if case.has_sinks:
        metrics["learned_sink_mass"] = counts + 0.1
    return metrics


def _pictures(case: Case, weights: Tensor, sink: Tensor | None) -> Pictures:
    rows, columns = case.pool
    zoom = (case.zoom or Zoom()).within(case.queries, case.keys)
    queries, keys = slice(zoom.first_query, zoom.query_stop), slice(zoom.first_key, zoom.key_stop)
    visible = _visible(case)
    return Pictures(
        weights=_pooled(weights[:, :, queries, keys], rows, columns).float(),
        visible=_pooled(visible[:, :, queries, keys].double(), rows, columns) > 0,
        sink=None if sink is None else _pooled(sink[:, :, queries, None], rows, 1)[..., 0].float(),
        query_pool=rows,
        key_pool=columns,
        first_query=zoom.first_query,
        first_key=zoom.first_key,
        zoom=None if case.zoom is None else zoom,
        queries=torch.arange(case.queries)[queries],
    )


def _pooled(x: Tensor, rows: int, columns: int) -> Tensor:
    """The largest of each cell; the sizes are multiples of the pools."""
    batch, heads, queries, keys = x.shape
    return x.reshape(batch, heads, queries // rows, rows, keys // columns, columns).amax(dim=(3, 5))


def _top(weights: Tensor, visible: Tensor, count: int = 3) -> TopPairs:
    batch, heads, _, keys = weights.shape
    shown = torch.where(visible & ~weights.isnan(), weights, -1.0).flatten(2)
    shown = torch.cat([shown, torch.full((batch, heads, count), -1.0, dtype=torch.float64)], dim=2)
    order = shown.argsort(dim=2, descending=True, stable=True)[..., :count]
    found = shown.gather(2, order)
    is_pair = found >= 0
    return TopPairs(
        query=torch.where(is_pair, order // keys, -1),
        key=torch.where(is_pair, order % keys, -1),
        weight=torch.where(is_pair, found, math.nan),
    )


def make_lesson() -> Lesson:
    """Steps of every kind: features, weights, a mask and logits that are hidden."""
    features = torch.arange(24, dtype=torch.float32).reshape(3, 8) / 16 - 0.5
    scores = torch.tensor([[0.5, -1.25, 2.0], [1.0, 0.0, -0.03125], [0.25, 12.5, 100.0]])
    keep = torch.tensor([[True, True, False], [True, True, False], [True, True, False]])
    axes = ("B", "Hq", "Sq", "Sk")
    linear = LessonStep(
        "Linear Q",
        "Q = X · W_qᵀ",
        "A learned linear layer turns each query into what it looks for.",
        (2, 3, 100),
        ("B", "Sq", "E"),
        features,
        "query",
        "feature",
        more_columns=True,
    )
    compare = LessonStep(
        "Compare every query with every key",
        "scores = Q · Kᵀ",
        "A large dot product says: these two match.",
        (2, 5, 3, 3),
        axes,
        scores,
        "query",
        "key",
    )
    mask = replace(compare, title="Mask", equation="which keys may be attended to", numbers=keep)
    hidden = replace(compare, title="Hide", numbers=scores.masked_fill(~keep, -math.inf))
    weights = torch.tensor([[0.852, 0.148, 0.0], [0.731, 0.269, 0.0], [0.0, 1.0, 0.0]])
    softmax = replace(
        compare,
        title="Softmax",
        equation="weights = exp(logits) / Σ exp(logits)",
        numbers=weights,
        row_labels=("the", "cat", "sat"),
        column_labels=("the", "cat", "sat"),
        more_rows=True,
    )
    return Lesson((linear, compare, mask, hidden, softmax))
