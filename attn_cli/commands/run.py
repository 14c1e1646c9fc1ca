"""``attn run``: inspect attention on saved tensors."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from attn_cli.commands import options as opt
from attn_cli.commands.imports import for_good
from attn_cli.commands.parsing import parse_metric, parse_zoom
from attn_cli.commands.reading import check_files, files_of, reads_a_file
from attn_cli.commands.writing import OutputOptions, writes_files
from attn_cli.inputs.options import ReadOptions


@reads_a_file()
@writes_files()
def run(
    *,
    file: opt.File = None,
    read: ReadOptions,
    zoom: opt.Zoom = None,
    top: opt.Top = 3,
    similarity: opt.Similarity = False,
    metric: opt.Metric = None,
    sort: opt.Sort = None,
    device: opt.Device = "auto",
    dtype: opt.DtypeOption = None,
    backend: opt.Backend = opt.BackendName.auto,
    repeat: opt.Repeat = None,
    json_output: opt.Json = False,
    weights: opt.Weights = False,
    save: opt.Save = None,
    outputs: OutputOptions,
) -> int:
    """Inspect attention on saved tensors: every head's weights, shapes, metrics and timing.

    FILE holds Q, K and V, or hidden states and projection weights; names are detected. A file with several
    layers opens with an overview: the layer × head table and the heads worth looking at; --layer N shows one of them.
    """
    window_shown, shown_metric = parse_zoom(zoom), parse_metric(metric, sort)
    order: Literal["high", "low"] | None = None if sort is None else "low" if sort is opt.SortName.low else "high"
    read = replace(read, file=file)
    check_files(read)
    out = outputs.checked("--json" if json_output else None, files_of(read), save)
    with for_good():
        from attn_cli.commands.running import RunRequest, run_file

    request = RunRequest(
        "run", device, dtype and dtype.value, backend.value, repeat, top, similarity, weights, json_output, save,
        window_shown, shown_metric, order, figures=out.figures, page=out.page,
        screenshot=out.screenshot,
    )  # fmt: skip
    return run_file(read, request)
