"""The JSON Schema of the data that ``attn run --json`` and ``attn demo --json`` hold. Free of torch."""

from __future__ import annotations

from attn_cli.reporters.schema_parts import (
    COUNT,
    COUNT_OR_NULL,
    MILLISECONDS,
    NUMBER_OR_NULL,
    SHAPE,
    TEXT,
    TEXT_OR_NULL,
    Schema,
    list_of,
    object_of,
    or_null,
    ref,
    said,
)

# What the design promises for every head; a head may have more metrics, each a number or null.
PROMISED_METRICS = (
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
    "learned_sink_mass",
    "max_logit",
    "output_norm",
    "induction_score",
    "duplicate_score",
    "fully_masked_rows",
    "nonfinite",
)


def run_definitions() -> dict[str, Schema]:
    """The parts of the document, by their names; ``data`` is the whole of its data."""
    return {
        "data": _data(),
        "input": _input(),
        "tensor": object_of(name=TEXT, shape=SHAPE, dtype=TEXT),
        "backend": object_of(requested=TEXT, ran=TEXT, kernel=TEXT, note=TEXT_OR_NULL),
        "steps": list_of(object_of(step=TEXT, shape=SHAPE)),
        "timing": _timing(),
        "verification": _verification(),
        "metric": object_of(unit=TEXT, definition=TEXT, source=TEXT),
        "head": _head(),
        "worth": _worth(),
        "layer": _layer(),
        "output": _output(),
        "zoom": _zoom(),
    }


def _data() -> Schema:
    several = "With several calls: "
    return object_of(
        input=ref("input"),
        device=TEXT,
        dtype=TEXT,
        backend=said(ref("backend"), f"{several}the first call's."),
        shapes=said(ref("steps"), f"{several}the first call's."),
        timing_ms=said(ref("timing"), f"{several}sums; attention.median is the sum of medians, iqr is null."),
        verification=said(ref("verification"), f"{several}the worst."),
        metrics={"type": "object", "additionalProperties": ref("metric"), "required": list(PROMISED_METRICS)},
        heads=list_of(ref("head")),
        worth_looking_at=said(list_of(ref("worth")), "The head of each kind that shows it best, one a kind."),
        layers=said(list_of(ref("layer")), "One entry a call."),
        output=said(or_null(ref("output")), f"{several}null; each entry of layers has its own."),
        optional={
            "weights": _asked_for("--weights", "(B, Hq, Sq, Sk)", depth=4),
            "sink_weights": _asked_for("--weights, of each call that has learned sinks", "(B, Hq, Sq)", depth=3),
            "similarity": _asked_for("--similarity", "(B, Hq, Hq)", depth=3),
            "zoom": _of_each(
                ref("zoom"), "With --zoom: the window's weights for one call, a list of such for several."
            ),
        },
    )


def _input() -> Schema:
    numbers = or_null(SHAPE)
    tensor = {**object_of(name=TEXT, shape=SHAPE, dtype=TEXT, role=TEXT_OR_NULL, layer=COUNT_OR_NULL)}
    return object_of(
        file=said(TEXT, 'A path, "-" for standard input, or "random".'),
        tensors=list_of(tensor),
        shapes={"type": "object", "additionalProperties": SHAPE},
        dtypes={"type": "object", "additionalProperties": TEXT},
        unused=list_of(ref("tensor")),
        conventions=list_of(object_of(name=TEXT, value=TEXT, origin=TEXT)),
        selection=said(object_of(batch=numbers, heads=numbers, queries=numbers), "null keeps the whole axis."),
    )


def _timing() -> Schema:
    iqr = {"type": ["number", "null"], "minimum": 0}
    attention = object_of(median=MILLISECONDS, iqr=iqr, runs={"type": "integer", "minimum": 1})
    return object_of(load=MILLISECONDS, to_device=MILLISECONDS, attention=attention, inspection=MILLISECONDS)


def _verification() -> Schema:
    place = dict.fromkeys(("layer", "batch", "head", "query"), COUNT_OR_NULL)
    measured = {
        "max_abs_error": NUMBER_OR_NULL,
        "against": TEXT,
        "disagreements": COUNT,
        "tolerance": NUMBER_OR_NULL,
    }
    return object_of(**measured, **place)


def _call() -> dict[str, Schema]:
    """Which call of the file an entry belongs to."""
    module = said(TEXT, "The prefix without its step: the same for all steps of a recorded module.")
    step = said(COUNT, "How many calls of the module came before, in a recording; else 0.")
    return {"layer": COUNT_OR_NULL, "prefix": TEXT, "module": module, "step": step}


def _worth() -> Schema:
    all_calls = "null where all calls of the module are meant."
    place = _call() | {"prefix": said(TEXT_OR_NULL, all_calls), "step": said(COUNT_OR_NULL, all_calls)}
    kinds = ["broken", "changing", "induction", "duplicate", "previous-token", "next-token", "self", "sink"]
    return object_of(
        kind={"enum": [*kinds, "focused", "far", "inactive"]},
        **place,
        batch=COUNT_OR_NULL,
        head=COUNT,
        metric=said(TEXT_OR_NULL, "What decided; null for changing, the share of calls with another label."),
        value=NUMBER_OR_NULL,
        threshold=NUMBER_OR_NULL,
        count=said(COUNT, "How many heads are of this kind."),
        why=TEXT,
    )


def _head() -> Schema:
    pair = object_of(query=COUNT, key=COUNT, weight=NUMBER_OR_NULL)
    place = _call() | {"batch": COUNT, "head": COUNT, "label": TEXT}
    head = object_of(**place, **dict.fromkeys(PROMISED_METRICS, NUMBER_OR_NULL), top=list_of(pair))
    return head | {"additionalProperties": NUMBER_OR_NULL}


def _layer() -> Schema:
    return object_of(
        **_call(),
        backend=ref("backend"),
        shapes=ref("steps"),
        timing_ms=ref("timing"),
        verification=ref("verification"),
        output=ref("output"),
    )


def _output() -> Schema:
    of = said({"enum": ["projected", "heads"]}, "The projected output, or the heads' A·V where there is none.")
    return object_of(of=of, shape=SHAPE, **dict.fromkeys(("mean", "std", "min", "max"), NUMBER_OR_NULL))


def _asked_for(option: str, shape: str, depth: int) -> Schema:
    """Nested lists for one call; a list with one entry a call for several."""
    return _of_each(_nested(depth), f"With {option}: {shape} for one call, a list of such for several.")


def _of_each(values: Schema, description: str) -> Schema:
    several = list_of(object_of(layer=COUNT_OR_NULL, prefix=TEXT, values=values))
    return said({"anyOf": [values, several]}, description)


def _nested(depth: int) -> Schema:
    """Lists in lists, so many deep, of numbers."""
    values: Schema = NUMBER_OR_NULL
    for _ in range(depth):
        values = list_of(values)
    return values


def _zoom() -> Schema:
    pools = "Query rows and keys that one cell stands for; its weight is the largest of them."
    begins = "What each row and each column of cells begins with, in numbers of the whole call."
    size = {"type": "integer", "minimum": 1}
    return object_of(
        first_query=COUNT,
        query_stop=size,
        first_key=COUNT,
        key_stop=size,
        query_pool=said(size, pools),
        key_pool=said(size, pools),
        queries=said(SHAPE, begins),
        keys=said(SHAPE, begins),
        weights=said(_nested(depth=4), "(B, Hq, rows, columns); a hidden key has weight 0."),
        sink_weights=said(or_null(_nested(depth=3)), "(B, Hq, rows); null where there are no learned sinks."),
    )
