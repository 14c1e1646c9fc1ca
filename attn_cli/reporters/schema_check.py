"""The JSON Schema of the data that ``attn check --json`` holds. Free of torch."""

from __future__ import annotations

from attn_cli.reporters.schema_parts import (
    COUNT,
    COUNT_OR_NULL,
    TEXT,
    Schema,
    finding,
    list_of,
    object_of,
    ref,
    said,
)

SEVERITY: Schema = {"enum": ["error", "warning", "info"]}


def check_definitions() -> dict[str, Schema]:
    """The parts of the document, by their names; ``data`` is the whole of its data."""
    return {
        "data": object_of(
            files=said(list_of(TEXT), 'Paths, "-" for standard input, in the order they were checked.'),
            calls=said(list_of(ref("call")), "Every attention call of every file."),
            rules=said(list_of(ref("rule")), "What was looked for; with --rule told in words."),
            strict=said({"type": "boolean"}, "Whether a warning counts as an error does."),
        ),
        "call": _call(),
        "rule": _rule(),
        "unused": _unused(),
        "finding": finding(file=said(TEXT, "The file of the call it was found in.")),
    }


def _call() -> Schema:
    shape = {"type": "array", "items": COUNT, "minItems": 4, "maxItems": 4}
    return object_of(
        file=TEXT,
        layer=COUNT_OR_NULL,
        prefix=TEXT,
        shape=said(shape, "B, Hq, Sq, Sk of what was checked."),
        kv_heads=said(COUNT, "Hkv"),
        head_dim=said(COUNT, "D"),
        value_dim=said(COUNT, "Dv"),
        device=TEXT,
        dtype=TEXT,
        backend=object_of(requested=TEXT, ran=TEXT, kernel=TEXT),
        conventions=list_of(object_of(name=TEXT, value=TEXT, origin=TEXT)),
        unused=said(list_of(ref("unused")), "Tensors of the file that nothing was done with."),
        findings=said(object_of(error=COUNT, warning=COUNT, info=COUNT), "How many of each severity."),
    )


def _unused() -> Schema:
    looks_like = said({"enum": ["mask", "result", None]}, "What it is by its name; null says nothing.")
    return object_of(name=TEXT, shape=list_of(COUNT), dtype=TEXT, looks_like=looks_like)


def _rule() -> Schema:
    words = {"looks_for": TEXT, "why": TEXT, "example": TEXT, "source": TEXT}
    code = {"type": "string", "pattern": "^ATTN[0-9]{3}$"}
    return object_of(code=code, name=TEXT, severity=SEVERITY, optional=words)
