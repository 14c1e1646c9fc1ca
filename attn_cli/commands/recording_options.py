"""The options of ``attn record``, and what their values mean. Free of torch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Annotated

import typer

from attn_cli.commands.options import OUTPUT, Dtype
from attn_cli.errors import InputError

CHOOSING = "What to record"
DEFAULT_BYTES = "2GiB"

# Options with a value of its own behind them; whatever else stands before the program is a flag.
VALUED = ("-o", "--output", "--layers", "--calls", "--heads", "--max-bytes", "--dtype", "--tokenizer")

Program = Annotated[
    list[str] | None,
    typer.Argument(metavar="SCRIPT [ARGS]...", help="The program, and all that is to be given to it."),
]
IsModule = Annotated[bool, typer.Option("-m", help="Run a module, as python -m MODULE [ARGS]... does.")]
Output = Annotated[
    str | None,
    typer.Option(
        "-o",
        "--output",
        metavar="FILE",
        help="What to write. \\[default: SCRIPT.attn.safetensors; with --stats SCRIPT.attn.jsonl]",
        rich_help_panel=OUTPUT,
    ),
]
Stats = Annotated[
    bool,
    typer.Option(
        "--stats", help="Inspect the calls while they are made; keep metrics and pictures, no tensors.",
        rich_help_panel=OUTPUT,
    ),
]  # fmt: skip
Quiet = Annotated[bool, typer.Option("--quiet", help="Say nothing but warnings and errors.", rich_help_panel=OUTPUT)]
Layers = Annotated[
    list[str] | None,
    typer.Option(
        "--layers",
        metavar="GLOB",
        help="Modules whose path matches, such as 'encoder.layer.[0-3].*'. May be repeated. \\[default: all]",
        rich_help_panel=CHOOSING,
    ),
]
Calls = Annotated[
    str | None,
    typer.Option(
        "--calls",
        metavar="A:B",
        help="Of all attention calls those from the A-th to before the B-th, counted from 0. \\[default: all]",
        rich_help_panel=CHOOSING,
    ),
]
Heads = Annotated[
    str | None,
    typer.Option(
        "--heads", metavar="LIST", help="Query heads, such as 0,3-5. \\[default: all]", rich_help_panel=CHOOSING
    ),
]
MaxBytes = Annotated[
    str | None,
    typer.Option(
        "--max-bytes",
        metavar="SIZE",
        help=f"How large the tensors may become together, such as 500MB. \\[default: {DEFAULT_BYTES}]",
        rich_help_panel=CHOOSING,
    ),
]
StoredDtype = Annotated[
    Dtype | None,
    typer.Option(
        "--dtype",
        help="Store Q, K, V and what came out in this dtype. \\[default: the program's]",
        rich_help_panel=CHOOSING,
    ),
]
TokenizerFile = Annotated[
    str | None,
    typer.Option(
        "--tokenizer",
        metavar="FILE",
        help="A tokenizer.json that turns caught token ids into text.",
        rich_help_panel=CHOOSING,
    ),
]


def whole_path(path: str | None) -> str | None:
    """The path from the root: the program may go to another folder."""
    return None if path is None else os.path.abspath(path)


def check_script(script: str) -> None:
    """Refuse a program that Python would not find.

    Raises:
        InputError: where there is no such file.
    """
    if script != "-" and not os.path.exists(script):
        raise InputError(f"{script}: no such file; expected a Python program", "attn record -m runs a module")


def check_module(module: str) -> None:
    """Refuse a name that Python would not find, and would repeat as it is: a terminal may obey it.

    Raises:
        InputError: where a character of it is a control character, or has no width.
    """
    if not module.isprintable():
        raise InputError(f"-m {module}: found characters that cannot be shown; expected the name of a module")


def own_arguments(arguments: Sequence[str]) -> int:
    """How many of attn's arguments may be its options: none behind ``--``, nor those of the program to record."""
    place = next((i for i, argument in enumerate(arguments) if not argument.startswith("-")), None)
    if place is None or arguments[place] != "record":
        behind = 0 if place is None else place
        return arguments.index("--", behind) if "--" in arguments[behind:] else len(arguments)
    place += 1
    while place < len(arguments) and arguments[place].startswith("-") and arguments[place] != "-":
        if arguments[place] == "--":
            return place + 1
        place += 2 if _needs_value(arguments[place]) else 1
    return min(place, len(arguments))


def _needs_value(argument: str) -> bool:
    """Whether the next argument is its value: not so for ``-oFILE`` and ``--output=FILE``, but for ``-mo``."""
    is_cluster = not argument.startswith("--") and argument.find("o") == len(argument) - 1
    return argument in VALUED or (is_cluster and len(argument) > 1)
