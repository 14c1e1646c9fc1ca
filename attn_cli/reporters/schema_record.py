"""The JSON Schema of a line that ``attn record --stats`` writes. Free of torch."""

from __future__ import annotations

from attn_cli.reporters.schema_parts import (
    COUNT,
    COUNT_OR_NULL,
    MILLISECONDS,
    NUMBER,
    NUMBER_OR_NULL,
    SHAPE,
    TEXT,
    Schema,
    finding,
    list_of,
    object_of,
    or_null,
    ref,
    said,
)
from attn_cli.reporters.schema_run import PROMISED_METRICS

_SIZE: Schema = {"type": "integer", "minimum": 1}
_CELLS: Schema = {"type": "array", "items": NUMBER_OR_NULL, "minItems": 1, "maxItems": 16}


def record_line(version: int) -> Schema:
    """The schema of one line."""
    return {
        "title": "a line of attn record --stats",
        **object_of(
            schema={"const": f"attn.record/{version}"},
            number=said(COUNT, "Counts all attention calls of the program, from 0."),
            step=said(COUNT, "How many calls came before from the same module, or the same line outside of modules."),
            layer=said(COUNT_OR_NULL, "The last whole number in the module's path."),
            module=said(TEXT, "Path of the innermost module that was running; outside of modules file and line."),
            root=said(TEXT, "Class of the outermost module; empty outside of modules."),
            function=said(TEXT, "The function that was called."),
            caller=said(TEXT, "Who called it: file, line and function."),
            shape=ref("shape"),
            dtype=TEXT,
            device=TEXT,
            rules=ref("rules"),
            ms=said(MILLISECONDS, "What inspecting the call took."),
            heads=said(list_of(ref("head")), "One entry a head of each batch item."),
            pictures=ref("pictures"),
            findings=list_of(ref("finding")),
            verification=said(
                or_null(ref("verification")),
                "The inspected weights times V against what the function returned; null where it returned no output of "
                "the heads, or dropped weights.",
            ),
        ),
        "$defs": _definitions(),
    }


def _definitions() -> dict[str, Schema]:
    return {
        "shape": _shape(),
        "rules": _rules(),
        "head": _head(),
        "pictures": _pictures(),
        "finding": finding(),
        "verification": _verification(),
    }


def _shape() -> Schema:
    total = said(_SIZE, "Query heads of the call; heads are those that were kept.")
    names = ("batch", "heads", "kv_heads", "queries", "keys", "head_dim", "value_dim")
    return object_of(**dict.fromkeys(names, _SIZE), total_heads=total)


def _rules() -> Schema:
    window = {"type": "array", "items": {"type": "integer", "minimum": -1}, "minItems": 2, "maxItems": 2}
    shape = said(or_null(SHAPE), "The tensor's shape; null where there is none.")
    return object_of(
        causal={"type": "boolean"},
        align=said(
            {"anyOf": [{"enum": ["bottom-right", "top-left"]}, {"type": "integer"}]},
            "How places are aligned; N puts query i on key i + N.",
        ),
        window=said(or_null(window), "Keys kept on each side of a query's place; -1 is unlimited."),
        scale=NUMBER_OR_NULL,
        softcap=NUMBER_OR_NULL,
        mask_value=NUMBER_OR_NULL,
        valid_lens=shape,
        mask=shape,
        bias=shape,
        sinks=shape,
        dropout=said(NUMBER, "The probability with which the program dropped weights; the inspection drops none."),
    )


def _head() -> Schema:
    pair = object_of(query=COUNT, key=COUNT, weight=NUMBER_OR_NULL)
    strongest = said(or_null(pair), "The strongest pair; null where no key is visible.")
    place = {"batch": COUNT, "head": COUNT, "label": TEXT}
    head = object_of(**place, **dict.fromkeys(PROMISED_METRICS, NUMBER_OR_NULL), top=strongest)
    return head | {"additionalProperties": NUMBER_OR_NULL}


def _pictures() -> Schema:
    pools = "Query rows and keys that one cell stands for; its weight is the largest of them."
    rows: Schema = {"type": "array", "items": _CELLS, "minItems": 1, "maxItems": 16}
    return object_of(
        query_pool=said(_SIZE, pools),
        key_pool=said(_SIZE, pools),
        weights=said(list_of(list_of(rows)), "(B, Hq, rows, columns), rounded to 5 decimals; 0 where a key is hidden."),
        sink_weights=said(or_null(list_of(list_of(_CELLS))), "(B, Hq, rows); null where there are no learned sinks."),
    )


def _verification() -> Schema:
    return object_of(
        max_abs_error=NUMBER_OR_NULL,
        against=said(TEXT, "The function that returned the output."),
        disagreements=said(COUNT, "Values that are finite in one of the two only."),
        tolerance=said(NUMBER_OR_NULL, "What the dtype explains."),
        batch=COUNT_OR_NULL,
        head=COUNT_OR_NULL,
        query=COUNT_OR_NULL,
        holds={"type": "boolean"},
    )
