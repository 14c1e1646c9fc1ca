"""``attn diff``: two files, or one file under two settings, head by head."""

from __future__ import annotations

import math
from dataclasses import replace
from enum import StrEnum
from typing import Annotated

import typer

from attn_cli.commands import options as opt
from attn_cli.commands.imports import for_good
from attn_cli.commands.parsing import parse_align
from attn_cli.commands.reading import check_files, files_of, reads_a_file
from attn_cli.commands.writing import FIGURES, OutputOptions, writes_files
from attn_cli.errors import UsageError
from attn_cli.inputs.options import ReadOptions

COMPARING = "What to compare with"
TOLERANCE = "What counts as equal"
HINT = "attn diff FILE --backend sdpa --against textbook compares two backends; --help lists what else there is"


class AgainstName(StrEnum):
    """What the right side can be computed by: a backend, or whatever recorded the file."""

    auto = "auto"
    textbook = "textbook"
    sdpa = "sdpa"
    flash = "flash"
    efficient = "efficient"
    cudnn = "cudnn"
    math = "math"
    flex = "flex"
    recorded = "recorded"


Left = Annotated[
    str | None,
    typer.Argument(metavar="[A]", help="A .safetensors, .npz or .pt file, or - for the bytes of one on stdin."),
]
Right = Annotated[
    str | None,
    typer.Argument(metavar="[B]", help="The file to compare it with. Without it, A is compared with itself."),
]
Backend = Annotated[
    opt.BackendName, typer.Option("--backend", help="What computes the output.", rich_help_panel=opt.RUNNING)
]
Against = Annotated[
    AgainstName | None,
    typer.Option(
        "--against",
        help="The backend of the right side; recorded takes the output and weights that the file holds. "
        "\\[default: --backend]",
        rich_help_panel=COMPARING,
    ),
]
AgainstDtype = Annotated[
    opt.Dtype | None,
    typer.Option(
        "--against-dtype", help="The dtype of the right side. \\[default: --dtype]", rich_help_panel=COMPARING
    ),
]
AgainstDevice = Annotated[
    str | None,
    typer.Option(
        "--against-device",
        metavar="auto|cpu|cuda[:N]|mps",
        help="Where the right side runs. \\[default: --device]",
        rich_help_panel=COMPARING,
    ),
]
AgainstAlign = Annotated[
    str | None,
    typer.Option(
        "--against-causal-align",
        metavar="WHERE",
        help="The causal alignment of the right side. \\[default: --causal-align]",
        rich_help_panel=COMPARING,
    ),
]
Atol = Annotated[
    float | None,
    typer.Option(
        "--atol", min=0, help="Absolute tolerance. \\[default: the coarser dtype's]", rich_help_panel=TOLERANCE
    ),
]
Rtol = Annotated[
    float | None,
    typer.Option(
        "--rtol",
        min=0,
        help="Relative tolerance, as a share of the right value. \\[default: the coarser dtype's]",
        rich_help_panel=TOLERANCE,
    ),
]


@reads_a_file()
@writes_files(but=FIGURES)
def diff(
    *,
    file: Left = None,
    other: Right = None,
    read: ReadOptions,
    against: Against = None,
    against_dtype: AgainstDtype = None,
    against_device: AgainstDevice = None,
    against_causal_align: AgainstAlign = None,
    atol: Atol = None,
    rtol: Rtol = None,
    device: opt.Device = "auto",
    dtype: opt.DtypeOption = None,
    backend: Backend = opt.BackendName.auto,
    json_output: opt.Json = False,
    outputs: OutputOptions,
) -> int:
    """Compare two files, or one file under two settings, head by head.

    Tensors of the same name are compared, then the attention of both sides is run and compared: how far apart every
    head is, where, and at which cell most. The exit code is 1 where something differs by more than the tolerance.
    """
    left = replace(read, file=file)
    align = parse_align(against_causal_align, "--against-causal-align")
    right = replace(left, file=other or file, causal_align=read.causal_align if align is None else align)
    settings = (against, against_dtype, against_device, against_causal_align)
    _check(left, other, settings, (("--atol", atol), ("--rtol", rtol)))
    if against is AgainstName.recorded and any(setting is not None for setting in settings[1:]):
        refused = "expected no --against-dtype, no --against-device and no --against-causal-align"
        raise UsageError(f"--against recorded: nothing is run; {refused}")
    out = outputs.checked("--json" if json_output else None, (*files_of(left), other))
    with for_good():
        from attn_cli.commands.differing import DiffRequest, SideRequest, run_diff

    other_dtype = against_dtype or dtype
    ours = SideRequest(left, device, dtype and dtype.value, backend.value)
    theirs = SideRequest(
        right, against_device or device, other_dtype and other_dtype.value, (against or backend).value,
        "--device" if against_device is None else "--against-device", "--backend" if against is None else "--against",
    )  # fmt: skip
    return run_diff(DiffRequest(ours, theirs, other is None, atol, rtol, json_output, out.screenshot, out.page))


def _check(
    left: ReadOptions,
    other: str | None,
    settings: tuple[object, ...],
    tolerances: tuple[tuple[str, float | None], ...],
) -> None:
    """Refuse what cannot be compared, before torch is imported.

    Raises:
        UsageError: where there is nothing to compare, or a tolerance is no number.
        InputError: where a file is not there.
    """
    if left.file is None and not (left.q or left.k or left.v):
        raise UsageError("no FILE: expected two files, or one and something to compare it under", HINT)
    if other is None and all(setting is None for setting in settings):
        expected = "expected a second file, or --against, --against-dtype, --against-device or --against-causal-align"
        raise UsageError(f"{left.file or left.q}: nothing to compare it with; {expected}", HINT)
    for flag, value in tolerances:
        if value is not None and not math.isfinite(value):
            raise UsageError(f"{flag} {value}: expected a finite number from 0")
    check_files(left, *(() if other is None else (replace(left, file=other),)))
