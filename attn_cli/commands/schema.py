"""``attn schema``: the JSON Schema of a command's ``--json``, or of the lines it writes."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated

import typer


class Documented(StrEnum):
    """The commands that have a ``--json``."""

    run = "run"
    demo = "demo"
    check = "check"
    explain = "explain"
    diff = "diff"
    bench = "bench"
    devices = "devices"
    record = "record"


def schema(command: Annotated[Documented, typer.Argument(help="The command whose document to describe.")]) -> int:
    """Print the JSON Schema of a command's --json; for record that of a line of --stats."""
    from attn_cli.reporters.json_report import write_document
    from attn_cli.reporters.schema import schema_for

    write_document(schema_for(command.value), sys.stdout)
    return 0
