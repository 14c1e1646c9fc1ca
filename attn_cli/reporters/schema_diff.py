"""The JSON Schema of the data that ``attn diff --json`` holds. Free of torch."""

from __future__ import annotations

from attn_cli.reporters.schema_parts import (
    COUNT,
    COUNT_OR_NULL,
    NUMBER,
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

_FLAG: Schema = {"type": "boolean"}


def diff_definitions() -> dict[str, Schema]:
    """The parts of the document, by their names; ``data`` is the whole of its data."""
    return {
        "data": _data(),
        "side": _side(),
        "backend": object_of(requested=TEXT, ran=TEXT, kernel=TEXT, note=TEXT_OR_NULL),
        "tolerance": said(
            object_of(rtol=NUMBER, atol=NUMBER, dtype=TEXT),
            "Equal is |left − right| ≤ atol + rtol·|right|; dtype is the coarser of the two, of which a ULP is.",
        ),
        "info": object_of(name=TEXT, shape=SHAPE, dtype=TEXT),
        "tensor": _tensor(),
        "call": _call(),
        "head": object_of(batch=COUNT, head=COUNT, **_numbers(), **_divergence(), worst=_worst("query"), within=_FLAG),
        "call_head": _call_head(),
    }


def _data() -> Schema:
    return object_of(
        left=ref("side"),
        right=ref("side"),
        tolerance=said(or_null(ref("tolerance")), "Of the first call, else of the first tensor; each has its own."),
        tensors=said(
            list_of(ref("tensor")),
            "Those that both files have, by name or in matched calls by role; empty where one file is compared.",
        ),
        only_left=said(list_of(ref("info")), "Tensors of the left file alone."),
        only_right=said(list_of(ref("info")), "Tensors of the right file alone."),
        calls=said(list_of(ref("call")), "Attention calls that both sides have, run on both."),
        calls_only_left=said(list_of(TEXT), "Prefixes of calls of the left file alone."),
        calls_only_right=said(list_of(TEXT), "Prefixes of calls of the right file alone."),
        notes=list_of(TEXT),
        within=said(_FLAG, "true where nothing differs."),
    )


def _side() -> Schema:
    return object_of(
        file=said(TEXT, 'A path, or "-" for standard input.'),
        device=said(TEXT_OR_NULL, "Of the first call; null where none was run."),
        dtype=TEXT_OR_NULL,
        backend=or_null(ref("backend")),
        conventions=list_of(object_of(name=TEXT, value=TEXT, origin=TEXT)),
    )


def _numbers() -> dict[str, Schema]:
    return {
        "max_abs_error": said(NUMBER_OR_NULL, "Largest |left − right| where both are finite."),
        "max_rel_error": said(NUMBER_OR_NULL, "Largest |left − right| / |right| where right is not 0."),
        "max_ulps": said(NUMBER_OR_NULL, "In spacings of the coarser dtype at the larger of the two values."),
        "cosine": said(NUMBER_OR_NULL, "Cosine similarity of all values that are finite on both sides."),
        "needed_atol": said(NUMBER_OR_NULL, "The atol that would let every finite value pass, rtol kept."),
        "values": said(COUNT_OR_NULL, "How many were compared."),
        "beyond": said(COUNT_OR_NULL, "Finite values beyond the tolerance."),
        "finite_in_one": said(COUNT_OR_NULL, "Values that are finite on one side only."),
        "unlike": said(COUNT_OR_NULL, "Values that are finite on neither side and differ."),
        "nonfinite_both": said(
            COUNT_OR_NULL, "Values that are finite on neither side and the same; they count as equal."
        ),
        "first_row": said(COUNT_OR_NULL, "The first row with a value that does not pass."),
    }


def _divergence() -> dict[str, Schema]:
    return {
        "js_divergence": said(NUMBER_OR_NULL, "Of the weights: mean Jensen–Shannon divergence of the rows, nats."),
        "js_largest": said(NUMBER_OR_NULL, "That of the row where it is largest."),
        "js_largest_row": said(COUNT_OR_NULL, "Which row that is."),
    }


def _worst(*required: str) -> Schema:
    """Where the value is that differs most, and both values."""
    axes = dict.fromkeys(("batch", "head", "query", "key", "feature"), COUNT)
    places: dict[str, Schema] = {name: axes[name] for name in required}
    optional: dict[str, Schema] = {name: axis for name, axis in axes.items() if name not in required}
    if not required:
        places["index"] = SHAPE
    values = {"left": NUMBER_OR_NULL, "right": NUMBER_OR_NULL}
    said_of = "The first that differs in what is finite, else the largest difference beyond the tolerance, else the "
    return said(or_null(object_of(optional, **places, **values)), f"{said_of}largest; null where both are equal.")


def _tensor() -> Schema:
    kind = object_of(shape=SHAPE, dtype=TEXT)
    return object_of(
        name=TEXT,
        right_name=said(TEXT, "Another than name where matched calls take two tensors for the same."),
        role=said(TEXT_OR_NULL, "What its name says it is."),
        axes=list_of(TEXT_OR_NULL),
        left=kind,
        right=kind,
        tolerance=said(or_null(ref("tolerance")), "null where shapes differ, so that nothing was compared."),
        **_numbers(),
        worst=_worst(),
        heads=said(or_null(list_of(ref("head"))), "For outputs and weights; else null."),
        within=said(_FLAG, "false also where shape or dtype differ."),
    )


def _call() -> Schema:
    ran = or_null(object_of(device=TEXT, dtype=TEXT, backend=ref("backend")))
    return object_of(
        layer=COUNT_OR_NULL,
        prefix=TEXT,
        right_prefix=TEXT,
        left=ran,
        right=ran,
        output_tolerance=or_null(ref("tolerance")),
        weights_tolerance=said(or_null(ref("tolerance")), "null where both sides have the same weights by definition."),
        heads=list_of(ref("call_head")),
        reason=said(TEXT_OR_NULL, "Why the calls cannot be compared."),
        notes=list_of(TEXT),
        within=_FLAG,
    )


def _call_head() -> Schema:
    weights = object_of(**_numbers(), worst=_worst("query", "key"), within=_FLAG)
    return object_of(
        batch=COUNT,
        head=COUNT,
        **_numbers(),
        **_divergence(),
        worst=_worst("query", "feature"),
        weights=said(or_null(weights), "The same of the weights, where they were compared."),
        within=_FLAG,
    )
