"""The options for what a recording knows beside tensors: steps and tokens."""

from __future__ import annotations

from typing import Annotated

import typer

from attn_cli.commands.options import READING

Step = Annotated[
    str | None,
    typer.Option(
        "--step",
        metavar="LIST",
        help="Of a recording, the calls of each module to read, such as 0,3-5; 0 is its first.",
        rich_help_panel=READING,
    ),
]
Tokens = Annotated[
    str | None,
    typer.Option(
        "--tokens",
        metavar="FILE.json|TENSOR",
        help="The keys' texts or token ids: a JSON file with lists of them, or a tensor of ids in FILE.",
        rich_help_panel=READING,
    ),
]
TokenizerFile = Annotated[
    str | None,
    typer.Option(
        "--tokenizer",
        metavar="tokenizer.json",
        help="Turns token ids into texts; needs the package tokenizers (attn-cli\\[tokens]).",
        rich_help_panel=READING,
    ),
]
