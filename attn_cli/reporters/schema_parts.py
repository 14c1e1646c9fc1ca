"""What the JSON Schemas of all documents are put together from. Free of torch."""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
TEXT_OR_NULL: Schema = {"type": ["string", "null"]}
NUMBER: Schema = {"type": "number"}
NUMBER_OR_NULL: Schema = {"type": ["number", "null"]}
MILLISECONDS: Schema = {"type": "number", "minimum": 0}
COUNT: Schema = {"type": "integer", "minimum": 0}
COUNT_OR_NULL: Schema = {"type": ["integer", "null"], "minimum": 0}
SHAPE: Schema = {"type": "array", "items": COUNT}


def object_of(optional: dict[str, Schema] | None = None, **required: Schema) -> Schema:
    """An object with these properties and no others."""
    return {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": list(required),
        "additionalProperties": False,
    }


def list_of(items: Schema) -> Schema:
    """A list of any length."""
    return {"type": "array", "items": items}


def ref(name: str) -> Schema:
    """What the document defines under ``name``."""
    return {"$ref": f"#/$defs/{name}"}


def or_null(schema: Schema) -> Schema:
    """``schema``, or null."""
    return {"anyOf": [schema, {"type": "null"}]}


def finding(**required: Schema) -> Schema:
    """A finding; a command's own may promise more of it."""
    place = {name: COUNT for name in ("batch", "head", "query", "key", "feature", "count") if name not in required}
    texts = {name: TEXT for name in ("file", "prefix", "tensor", "hint") if name not in required}
    return object_of(
        code={"type": "string", "pattern": "^ATTN[0-9]{3}$"},
        severity={"enum": ["error", "warning", "info"]},
        message=TEXT,
        **required,
        optional={"layer": COUNT, **texts, **place},
    )


def said(schema: Schema, description: str) -> Schema:
    """The same with a description for people."""
    return {**schema, "description": description}
