"""``attn explain``: one cell or one row of attention, told with its numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from attn_cli.commands import options as opt
from attn_cli.commands.imports import for_good
from attn_cli.commands.reading import check_files, files_of, reads_a_file
from attn_cli.commands.writing import FIGURES, PAGE, OutputOptions, writes_files
from attn_cli.inputs.options import ReadOptions

OneHead = Annotated[
    int, typer.Option("--head", min=0, metavar="H", help="The query head.", rich_help_panel=opt.SELECTING)
]
OneQuery = Annotated[
    int, typer.Option("--query", min=0, metavar="I", help="The query row.", rich_help_panel=opt.SELECTING)
]
OneKey = Annotated[
    int | None,
    typer.Option(
        "--key", min=0, metavar="J", help="The key, for one cell. \\[default: the row]", rich_help_panel=opt.SELECTING
    ),
]
OneBatch = Annotated[
    int, typer.Option("--batch", min=0, metavar="B", help="The batch item.", rich_help_panel=opt.SELECTING)
]
Largest = Annotated[
    int,
    typer.Option(
        "--top",
        min=1,
        metavar="K",
        help="Features (with --key) or keys that are told one by one, the largest first.",
        rich_help_panel=opt.SELECTING,
    ),
]
KernelDtype = Annotated[
    opt.Dtype | None,
    typer.Option(
        "--dtype", help="What the kernel beside it runs in. \\[default: the file's]", rich_help_panel=opt.RUNNING
    ),
]


@reads_a_file(but=("batch", "head", "query"))
@writes_files(but=(*PAGE, *FIGURES))
def explain(
    *,
    file: opt.File = None,
    read: ReadOptions,
    head: OneHead,
    query: OneQuery,
    key: OneKey = None,
    batch: OneBatch = 0,
    top: Largest = 5,
    device: opt.Device = "auto",
    dtype: KernelDtype = None,
    backend: opt.Backend = opt.BackendName.auto,
    json_output: opt.Json = False,
    outputs: OutputOptions,
) -> int:
    """Explain one query row of a head, or with --key one cell of it, step by step with its real numbers.

    From the dot product to what the key adds to the output, in float64: each printed number follows from those above
    it. The same row is also run by the kernel, for comparison.
    """
    read = replace(read, file=file, batch=(batch,), heads=(head,), queries=(query,))
    check_files(read)
    out = outputs.checked("--json" if json_output else None, files_of(read))
    with for_good():
        from attn_cli.commands.explaining import ExplainRequest, run_explain

    request = ExplainRequest(key, top, device, dtype and dtype.value, backend.value, json_output, out.screenshot)
    return run_explain(read, request)
