"""The JSON Schema of the data that ``attn devices --json`` holds. Free of torch."""

from __future__ import annotations

from attn_cli.reporters.schema_parts import COUNT_OR_NULL, TEXT, TEXT_OR_NULL, Schema, list_of, object_of, ref, said


def devices_definitions() -> dict[str, Schema]:
    """The parts of the document, by their names; ``data`` is the whole of its data."""
    usable = object_of(name=TEXT, usable={"type": "boolean"}, reason=said(TEXT_OR_NULL, "Why it is not usable."))
    device = object_of(
        name=said(TEXT, "What --device calls it."),
        usable={"type": "boolean"},
        reason=said(TEXT_OR_NULL, "Why it is not usable."),
        model=said(TEXT_OR_NULL, "The maker's name of it."),
        memory_bytes=COUNT_OR_NULL,
        dtypes=list_of(ref("usable")),
        backends=list_of(ref("usable")),
    )
    return {"data": object_of(torch=TEXT, devices=list_of(ref("device"))), "device": device, "usable": usable}
