"""``attn run``: inspect attention on saved tensors."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from attn_cli.commands import options as opt
from attn_cli.commands.figure_options import FigureWidth, Pdf, Png, Svg, figures_asked_for
from attn_cli.commands.imports import for_good
from attn_cli.commands.page_options import Html, HtmlBudget, page_asked_for
from attn_cli.commands.parsing import parse_metric, parse_zoom
from attn_cli.commands.reading import check_files, reads_a_file
from attn_cli.commands.showing import Screenshot, check_screenshot
from attn_cli.inputs.options import ReadOptions


@reads_a_file()
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
    html: Html = None,
    html_budget: HtmlBudget = None,
    svg: Svg = None,
    png: Png = None,
    pdf: Pdf = None,
    figure_width: FigureWidth = None,
    screenshot: Screenshot = None,
) -> int:
    """Inspect attention on saved tensors: every head's weights, shapes, metrics and timing.

    FILE holds Q, K and V, or hidden states and projection weights; names are detected. A file with several
    layers opens with an overview: the layer × head table and the heads worth looking at; --layer N shows one of them.
    """
    window_shown, shown_metric = parse_zoom(zoom), parse_metric(metric, sort)
    order: Literal["high", "low"] | None = None if sort is None else "low" if sort is opt.SortName.low else "high"
    read = replace(read, file=file)
    check_files(read)
    inputs = (file, read.weights_file, read.q, read.k, read.v)
    figures = figures_asked_for(svg, png, pdf, figure_width, inputs)
    page = page_asked_for(html, html_budget, (*inputs, read.tokens, read.tokenizer, save))
    check_screenshot(screenshot, json_output, (*inputs, read.tokens, read.tokenizer, save, html, svg))
    with for_good():
        from attn_cli.commands.running import RunRequest, run_file

    request = RunRequest(
        "run", device, dtype and dtype.value, backend.value, repeat, top, similarity, weights, json_output, save,
        window_shown, shown_metric, order, figures=figures, page=page,
        screenshot=screenshot,
    )  # fmt: skip
    return run_file(read, request)
