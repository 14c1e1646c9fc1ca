"""The JSON Schemas (draft 2020-12) of the commands' ``--json``, and of lines they write. Free of torch."""

from __future__ import annotations

from attn_cli.errors import UsageError
from attn_cli.reporters.json_report import VERSION
from attn_cli.reporters.schema_bench import bench_definitions
from attn_cli.reporters.schema_check import check_definitions
from attn_cli.reporters.schema_devices import devices_definitions
from attn_cli.reporters.schema_diff import diff_definitions
from attn_cli.reporters.schema_explain import explain_definitions
from attn_cli.reporters.schema_parts import TEXT, TEXT_OR_NULL, Schema, finding, list_of, object_of, ref
from attn_cli.reporters.schema_record import record_line
from attn_cli.reporters.schema_run import PROMISED_METRICS, run_definitions

__all__ = ["COMMANDS", "LINES", "PROMISED_METRICS", "schema_for"]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_DEFINITIONS = {
    "run": run_definitions,
    "demo": run_definitions,
    "check": check_definitions,
    "explain": explain_definitions,
    "diff": diff_definitions,
    "bench": bench_definitions,
    "devices": devices_definitions,
}
COMMANDS = tuple(_DEFINITIONS)
# Commands that write a JSON object a line instead of one document: no envelope, no failures.
LINES = ("record",)
# Exit codes of a document without an error: bench says 1 for a regression, and reports when it was interrupted.
_DONE: dict[str, Schema] = {"bench": {"enum": [0, 1, 130]}}
# Exit codes of a document with findings, where they are an answer.
_FOUND: dict[str, Schema] = {"check": {"enum": [0, 1]}, "diff": {"const": 1}}
# Commands whose failure leaves what was found before it standing.
_FINDS_AND_FAILS = ("check",)


def schema_for(command: str) -> Schema:
    """The schema of ``attn COMMAND --json``, which covers failures too; for ``record`` that of one line of ``--stats``.

    Raises:
        UsageError: where the command has no such document.
    """
    if command not in COMMANDS + LINES:
        raise UsageError(f"attn schema: there is none for {command!r}; expected one of {', '.join(COMMANDS + LINES)}")
    if command in LINES:
        return {"$schema": DIALECT, "$id": f"attn.{command}/{VERSION}", **record_line(VERSION)}
    return {
        "$schema": DIALECT,
        "$id": f"attn.{command}/{VERSION}",
        "title": f"attn {command} --json",
        **object_of(
            schema={"const": f"attn.{command}/{VERSION}"},
            attn_version=TEXT,
            status={"enum": ["ok", "findings", "error"]},
            exit_code={"type": "integer", "minimum": 0, "maximum": 255},
            data={"anyOf": [{"$ref": "#/$defs/data"}, {"type": "null"}]},
            findings=list_of(ref("finding")),
            error={"anyOf": [{"$ref": "#/$defs/error"}, {"type": "null"}]},
        ),
        "oneOf": _outcomes(*_answers(command), {} if command in _FINDS_AND_FAILS else {"maxItems": 0}),
        "$defs": {
            "error": object_of(code=TEXT, message=TEXT, hint=TEXT_OR_NULL),
            "finding": finding(),
            **_DEFINITIONS[command](),
        },
    }


def _answers(command: str) -> tuple[Schema, Schema]:
    """Exit codes of a document without and with findings."""
    done = _DONE.get(command, {"const": 0})
    return done, _FOUND.get(command, done)


def _outcomes(done: Schema, found: Schema, failed: Schema) -> list[Schema]:
    """What belongs together: an error has no data, and the status says whether there are findings."""

    def outcome(status: str, exit_code: Schema, data: str, findings: Schema, error: str) -> Schema:
        named = {"data": {"type": data}, "findings": findings, "error": {"type": error}}
        return {"properties": {"status": {"const": status}, "exit_code": exit_code, **named}}

    none, some = {"maxItems": 0}, {"minItems": 1}
    return [
        outcome("ok", done, "object", none, "null"),
        outcome("findings", found, "object", some, "null"),
        outcome("error", {"minimum": 1}, "null", failed, "object"),
    ]
