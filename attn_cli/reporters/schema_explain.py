"""The JSON Schema of the data that ``attn explain --json`` holds. Free of torch."""

from __future__ import annotations

from attn_cli.reporters.schema_parts import (
    COUNT,
    COUNT_OR_NULL,
    NUMBER_OR_NULL,
    TEXT,
    TEXT_OR_NULL,
    Schema,
    list_of,
    object_of,
    or_null,
    ref,
    said,
)

STAGES = ("scores", "scale", "softcap", "bias", "mask", "hide", "softmax", "mix", "projection")
RULES = ("causal", "window left", "window right", "valid length", "keep mask", "bias", "mask constant")
_TRUTH: Schema = {"type": "boolean"}
_WHOLE: Schema = {"type": "integer"}


def explain_definitions() -> dict[str, Schema]:
    """The parts of the document, by their names; ``data`` is the whole of its data."""
    return {
        "data": _data(),
        "input": _input(),
        "step": _step(),
        "row": _row(),
        "top": _top(),
        "cell": _cell(),
        "score": _dot(q=NUMBER_OR_NULL, k=NUMBER_OR_NULL),
        "along": _dot(added=NUMBER_OR_NULL, whole=NUMBER_OR_NULL, value=NUMBER_OR_NULL),
        "part": _part(),
        "kernel": _kernel(),
    }


def _data() -> Schema:
    return object_of(
        input=ref("input"),
        computed_in=said({"const": "float64"}, "What every number but the kernel's is computed in."),
        batch=COUNT,
        head=said(COUNT, "The query head."),
        kv_head=said(COUNT_OR_NULL, "The key/value head that it reads; null where a recording left heads out."),
        query=COUNT,
        query_token=said(TEXT_OR_NULL, "null where unknown, or where queries are not keys."),
        place=said(_WHOLE, "The query's aligned place on the axis of the keys."),
        key=said(COUNT_OR_NULL, "null without --key."),
        key_token=TEXT_OR_NULL,
        steps=said(list_of(ref("step")), "In the order in which they are computed."),
        row=ref("row"),
        cell=said(or_null(ref("cell")), "null without --key."),
        kernel=ref("kernel"),
    )


def _input() -> Schema:
    shape = {"type": "array", "items": COUNT, "minItems": 4, "maxItems": 4}
    return object_of(
        file=said(TEXT, 'A path, or "-" for standard input.'),
        layer=COUNT_OR_NULL,
        prefix=TEXT,
        dtype=said(TEXT, "The file's."),
        shape=said(shape, "B, Hq, Sq, Sk of the whole call."),
        kv_heads=said(COUNT_OR_NULL, "Hkv; null where a recording left heads out."),
        head_dim=said(COUNT, "D"),
        value_dim=said(COUNT, "Dv"),
        conventions=list_of(object_of(name=TEXT, value=TEXT, origin=TEXT)),
    )


def _step() -> Schema:
    numbers = {"type": "object", "additionalProperties": NUMBER_OR_NULL}
    return object_of(
        step={"enum": list(STAGES)},
        title=TEXT,
        equation=TEXT,
        sentence=TEXT,
        values=said(numbers, "The cell's numbers, without --key the row's."),
    )


def _row() -> Schema:
    return object_of(
        visible=COUNT,
        hidden=COUNT,
        hidden_by=list_of(object_of(rule={"enum": list(RULES)}, sentence=TEXT, count=COUNT)),
        max_logit=said(
            or_null(object_of(logit=NUMBER_OR_NULL, key=COUNT)),
            "The largest logit that enters the softmax; null where all are −∞.",
        ),
        denominator=said(NUMBER_OR_NULL, "Σ exp(logits − max), the sink's too."),
        lse=said(NUMBER_OR_NULL, "Without the sink; null where all logits are −∞."),
        sink=NUMBER_OR_NULL,
        sink_weight=NUMBER_OR_NULL,
        mask_value=NUMBER_OR_NULL,
        hidden_weight=said(NUMBER_OR_NULL, "What a finite mask value leaves to hidden keys."),
        entropy=said(NUMBER_OR_NULL, "nats"),
        effective_keys=said(NUMBER_OR_NULL, "exp(entropy)"),
        top=list_of(ref("top")),
        others=said(COUNT, "Keys with a weight that are not among top."),
        output=list_of(NUMBER_OR_NULL),
        output_norm=NUMBER_OR_NULL,
        projected_norm=said(NUMBER_OR_NULL, "Of this head's part; null where W_o is not known."),
    )


def _top() -> Schema:
    return object_of(
        key=COUNT,
        token=TEXT_OR_NULL,
        visible=_TRUTH,
        logit=NUMBER_OR_NULL,
        weight=NUMBER_OR_NULL,
        running=said(NUMBER_OR_NULL, "Its weight and those of all stronger keys."),
        along=said(NUMBER_OR_NULL, "v · output"),
        share=said(NUMBER_OR_NULL, "Of the output's norm: weight · along / ‖output‖²; null where the output is 0."),
    )


def _cell() -> Schema:
    return object_of(
        visible=_TRUTH,
        hidden_by=list_of(object_of(rule={"enum": list(RULES)}, sentence=TEXT)),
        score=ref("score"),
        scaled=NUMBER_OR_NULL,
        capped=NUMBER_OR_NULL,
        bias=said(NUMBER_OR_NULL, "null where there is none, and for −∞."),
        biased=NUMBER_OR_NULL,
        logit=said(NUMBER_OR_NULL, "What enters the softmax; null for −∞, a hidden key's."),
        exponential=said(NUMBER_OR_NULL, "exp(logit − max)"),
        weight=NUMBER_OR_NULL,
        part=said(ref("part"), "What the key adds to the output."),
        projected=said(or_null(ref("part")), "What it adds to the head's part of the projected output."),
    )


def _part() -> Schema:
    return object_of(
        value_norm=said(NUMBER_OR_NULL, "‖v‖"),
        added_norm=said(NUMBER_OR_NULL, "‖weight · v‖"),
        along=said(ref("along"), "(weight · v) · output"),
        share=said(NUMBER_OR_NULL, "along / ‖output‖²; the shares of all keys sum to 1."),
    )


def _dot(**factors: Schema) -> Schema:
    term = object_of(feature=COUNT, **factors, product=NUMBER_OR_NULL)
    return object_of(
        terms=said(list_of(term), "The largest parts, the largest first."),
        others=said(COUNT, "Features that are not among them."),
        rest=said(NUMBER_OR_NULL, "The sum of the others."),
        total=NUMBER_OR_NULL,
    )


def _kernel() -> Schema:
    return object_of(
        device=TEXT,
        dtype=TEXT,
        requested=TEXT,
        ran=TEXT,
        kernel=TEXT,
        reason=said(TEXT_OR_NULL, "Why it did not run."),
        output=list_of(NUMBER_OR_NULL),
        difference=said(NUMBER_OR_NULL, "The largest, where both are finite."),
        feature=said(COUNT_OR_NULL, "Where that is."),
        disagreements=said(COUNT, "Values that are finite in one of the two only."),
    )
