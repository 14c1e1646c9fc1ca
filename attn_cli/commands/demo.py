"""``attn demo``: the multi-head module on random tensors."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from attn_cli.commands import options as opt
from attn_cli.commands.imports import for_good
from attn_cli.commands.parsing import Lengths, parse_align, parse_valid_lens, parse_window, parse_zoom
from attn_cli.commands.writing import OutputOptions, writes_files

SHAPE = "What to draw"

BatchSize = Annotated[int, typer.Option("--batch", min=1, help="Batch items.", rich_help_panel=SHAPE)]
Heads = Annotated[int, typer.Option("--heads", min=1, help="Query heads.", rich_help_panel=SHAPE)]
KvHeads = Annotated[
    int | None, typer.Option("--kv-heads", min=1, help="Key/value heads. \\[default: --heads]", rich_help_panel=SHAPE)
]
NumHiddens = Annotated[int, typer.Option("--num-hiddens", min=1, help="Features of all heads.", rich_help_panel=SHAPE)]
Queries = Annotated[int, typer.Option("--queries", min=1, help="Queries.", rich_help_panel=SHAPE)]
Keys = Annotated[int, typer.Option("--keys", min=1, help="Keys and values.", rich_help_panel=SHAPE)]
Seed = Annotated[int, typer.Option("--seed", min=0, max=2**32 - 1, help="Of the random draws.", rich_help_panel=SHAPE)]
Bias = Annotated[
    bool | None,
    typer.Option("--bias/--no-bias", help="Projections with a bias. \\[default: with --steps]", rich_help_panel=SHAPE),
]
Steps = Annotated[bool, typer.Option("--steps", help="Print the lesson: every step with equation, shape and numbers.")]
SaveCall = Annotated[
    str | None,
    typer.Option("--save", metavar="FILE.safetensors", help="Write tensors and weights for attn run to read."),
]


@writes_files()
def demo(
    *,
    batch: BatchSize = 2,
    heads: Heads = 5,
    kv_heads: KvHeads = None,
    num_hiddens: NumHiddens = 100,
    queries: Queries = 4,
    keys: Keys = 6,
    seed: Seed = 0,
    bias: Bias = None,
    valid_lens: opt.DrawnValidLens = None,
    causal: opt.Causal = None,
    causal_align: opt.CausalAlign = None,
    window: opt.Window = None,
    zoom: opt.Zoom = None,
    top: opt.Top = 3,
    similarity: opt.Similarity = False,
    device: opt.Device = "auto",
    dtype: opt.DrawnDtype = opt.Dtype.float32,
    backend: opt.Backend = opt.BackendName.auto,
    repeat: opt.Repeat = None,
    steps: Steps = False,
    json_output: opt.Json = False,
    weights: opt.JsonWeights = False,
    save: SaveCall = None,
    outputs: OutputOptions,
) -> int:
    """Inspect multi-head attention on random tensors; the defaults are the textbook's example.

    A module with Glorot weights attends from random queries to random keys. The same seed gives the same
    numbers on every machine.
    """
    lengths: Lengths | Literal["random"] | None = "random" if valid_lens == "random" else parse_valid_lens(valid_lens)
    align, sides, window_shown = parse_align(causal_align), parse_window(window), parse_zoom(zoom)
    out = outputs.checked("--json" if json_output else None, (), save)
    with for_good():
        from attn_cli.commands.drawing import run_drawing
        from attn_cli.commands.running import RunRequest
        from attn_cli.inputs.draws import DrawOptions
        from attn_cli.pipeline import DTYPES

    drawing = DrawOptions(
        batch=batch, heads=heads, kv_heads=kv_heads, num_hiddens=num_hiddens, queries=queries, keys=keys, seed=seed,
        bias=steps if bias is None else bias, valid_lens=lengths, causal=bool(causal), causal_align=align,
        window=sides, dtype=DTYPES[dtype.value],
    )  # fmt: skip
    request = RunRequest(
        "demo", device, None, backend.value, repeat, top, similarity, weights, json_output, save, window_shown,
        figures=out.figures, page=out.page, screenshot=out.screenshot,
    )  # fmt: skip
    return run_drawing(drawing, request, with_lesson=steps)
