"""The JSON Schemas (draft 2020-12) of the commands' ``--json``. Free of torch."""

from __future__ import annotations

from typing import Any

from attn_cli.errors import UsageError
from attn_cli.reporters.json_report import VERSION

Schema = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
COMMANDS = ("run", "demo")
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

_TEXT: Schema = {"type": "string"}
_TEXT_OR_NULL: Schema = {"type": ["string", "null"]}
_NUMBER: Schema = {"type": "number"}
_NUMBER_OR_NULL: Schema = {"type": ["number", "null"]}
_MILLISECONDS: Schema = {"type": "number", "minimum": 0}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_COUNT_OR_NULL: Schema = {"type": ["integer", "null"], "minimum": 0}
_SHAPE: Schema = {"type": "array", "items": _COUNT}


def schema_for(command: str) -> Schema:
    """The schema of ``attn COMMAND --json``; it covers failures too.

    Raises:
        UsageError: where the command has no such document.
    """
    if command not in COMMANDS:
        raise UsageError(f"attn schema: there is none for {command!r}; expected one of {', '.join(COMMANDS)}")
    return {
        "$schema": DIALECT,
        "$id": f"attn.{command}/{VERSION}",
        "title": f"attn {command} --json",
        **_object(
            schema={"const": f"attn.{command}/{VERSION}"},
            attn_version=_TEXT,
            status={"enum": ["ok", "findings", "error"]},
            exit_code={"type": "integer", "minimum": 0, "maximum": 130},
            data={"anyOf": [{"$ref": "#/$defs/data"}, {"type": "null"}]},
            findings=_list(_ref("finding")),
            error={"anyOf": [{"$ref": "#/$defs/error"}, {"type": "null"}]},
        ),
        "oneOf": _outcomes(),
        "$defs": _definitions(),
    }


def _outcomes() -> list[Schema]:
    """What belongs together: an error has no data, and the status says whether there are findings."""

    def outcome(status: str, exit_code: Schema, data: str, findings: Schema, error: str) -> Schema:
        named = {"data": {"type": data}, "findings": findings, "error": {"type": error}}
        return {"properties": {"status": {"const": status}, "exit_code": exit_code, **named}}

    none, some = {"maxItems": 0}, {"minItems": 1}
    return [
        outcome("ok", {"const": 0}, "object", none, "null"),
        outcome("findings", {"const": 0}, "object", some, "null"),
        outcome("error", {"minimum": 1}, "null", none, "object"),
    ]


def _definitions() -> dict[str, Schema]:
    return {
        "error": _object(code=_TEXT, message=_TEXT, hint=_TEXT_OR_NULL),
        "finding": _finding(),
        "data": _data(),
        "input": _input(),
        "tensor": _object(name=_TEXT, shape=_SHAPE, dtype=_TEXT),
        "backend": _object(requested=_TEXT, ran=_TEXT, kernel=_TEXT, note=_TEXT_OR_NULL),
        "steps": _list(_object(step=_TEXT, shape=_SHAPE)),
        "timing": _timing(),
        "verification": _verification(),
        "metric": _object(unit=_TEXT, definition=_TEXT, source=_TEXT),
        "head": _head(),
        "layer": _layer(),
        "output": _output(),
        "zoom": _zoom(),
    }


def _finding() -> Schema:
    return _object(
        code={"type": "string", "pattern": "^ATTN[0-9]{3}$"},
        severity={"enum": ["error", "warning", "info"]},
        message=_TEXT,
        optional={
            "layer": _COUNT,
            "prefix": _TEXT,
            "tensor": _TEXT,
            "batch": _COUNT,
            "head": _COUNT,
            "query": _COUNT,
            "key": _COUNT,
            "count": _COUNT,
            "hint": _TEXT,
        },
    )


def _data() -> Schema:
    several = "With several calls: "
    return _object(
        input=_ref("input"),
        device=_TEXT,
        dtype=_TEXT,
        backend=_said(_ref("backend"), f"{several}the first call's."),
        shapes=_said(_ref("steps"), f"{several}the first call's."),
        timing_ms=_said(_ref("timing"), f"{several}sums; attention.median is the sum of medians, iqr is null."),
        verification=_said(_ref("verification"), f"{several}the worst."),
        metrics={"type": "object", "additionalProperties": _ref("metric"), "required": list(PROMISED_METRICS)},
        heads=_list(_ref("head")),
        layers=_said(_list(_ref("layer")), "One entry a call."),
        output=_said(_or_null(_ref("output")), f"{several}null; each entry of layers has its own."),
        optional={
            "weights": _asked_for("--weights", "(B, Hq, Sq, Sk)", depth=4),
            "sink_weights": _asked_for("--weights, where there are learned sinks", "(B, Hq, Sq)", depth=3),
            "similarity": _asked_for("--similarity", "(B, Hq, Hq)", depth=3),
            "zoom": _of_each(
                _ref("zoom"), "With --zoom: the window's weights for one call, a list of such for several."
            ),
        },
    )


def _input() -> Schema:
    numbers = _or_null(_SHAPE)
    tensor = {**_object(name=_TEXT, shape=_SHAPE, dtype=_TEXT, role=_TEXT_OR_NULL, layer=_COUNT_OR_NULL)}
    return _object(
        file=_said(_TEXT, 'A path, "-" for standard input, or "random".'),
        tensors=_list(tensor),
        shapes={"type": "object", "additionalProperties": _SHAPE},
        dtypes={"type": "object", "additionalProperties": _TEXT},
        unused=_list(_ref("tensor")),
        conventions=_list(_object(name=_TEXT, value=_TEXT, origin=_TEXT)),
        selection=_said(_object(batch=numbers, heads=numbers, queries=numbers), "null keeps the whole axis."),
    )


def _timing() -> Schema:
    iqr = {"type": ["number", "null"], "minimum": 0}
    attention = _object(median=_MILLISECONDS, iqr=iqr, runs={"type": "integer", "minimum": 1})
    return _object(load=_MILLISECONDS, to_device=_MILLISECONDS, attention=attention, inspection=_MILLISECONDS)


def _verification() -> Schema:
    place = dict.fromkeys(("layer", "batch", "head", "query"), _COUNT_OR_NULL)
    measured = {
        "max_abs_error": _NUMBER_OR_NULL,
        "against": _TEXT,
        "disagreements": _COUNT,
        "tolerance": _NUMBER_OR_NULL,
    }
    return _object(**measured, **place)


def _head() -> Schema:
    pair = _object(query=_COUNT, key=_COUNT, weight=_NUMBER_OR_NULL)
    place = {"layer": _COUNT_OR_NULL, "prefix": _TEXT, "batch": _COUNT, "head": _COUNT, "label": _TEXT}
    head = _object(**place, **dict.fromkeys(PROMISED_METRICS, _NUMBER_OR_NULL), top=_list(pair))
    return head | {"additionalProperties": _NUMBER_OR_NULL}


def _layer() -> Schema:
    return _object(
        layer=_COUNT_OR_NULL,
        prefix=_TEXT,
        backend=_ref("backend"),
        shapes=_ref("steps"),
        timing_ms=_ref("timing"),
        verification=_ref("verification"),
        output=_ref("output"),
    )


def _output() -> Schema:
    of = _said({"enum": ["projected", "heads"]}, "The projected output, or the heads' A·V where there is none.")
    return _object(of=of, shape=_SHAPE, **dict.fromkeys(("mean", "std", "min", "max"), _NUMBER_OR_NULL))


def _asked_for(option: str, shape: str, depth: int) -> Schema:
    """Nested lists for one call; a list with one entry a call for several."""
    return _of_each(_nested(depth), f"With {option}: {shape} for one call, a list of such for several.")


def _of_each(values: Schema, description: str) -> Schema:
    several = _list(_object(layer=_COUNT_OR_NULL, prefix=_TEXT, values=values))
    return _said({"anyOf": [values, several]}, description)


def _nested(depth: int) -> Schema:
    """Lists in lists, so many deep, of numbers."""
    values: Schema = _NUMBER_OR_NULL
    for _ in range(depth):
        values = _list(values)
    return values


def _zoom() -> Schema:
    pools = "Query rows and keys that one cell stands for; its weight is the largest of them."
    begins = "What each row and each column of cells begins with, in numbers of the whole call."
    size = {"type": "integer", "minimum": 1}
    return _object(
        first_query=_COUNT,
        query_stop=size,
        first_key=_COUNT,
        key_stop=size,
        query_pool=_said(size, pools),
        key_pool=_said(size, pools),
        queries=_said(_SHAPE, begins),
        keys=_said(_SHAPE, begins),
        weights=_said(_nested(depth=4), "(B, Hq, rows, columns); a hidden key has weight 0."),
        sink_weights=_said(_or_null(_nested(depth=3)), "(B, Hq, rows); null where there are no learned sinks."),
    )


def _object(optional: dict[str, Schema] | None = None, **required: Schema) -> Schema:
    """An object with these properties and no others."""
    return {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": list(required),
        "additionalProperties": False,
    }


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _said(schema: Schema, description: str) -> Schema:
    return {**schema, "description": description}
