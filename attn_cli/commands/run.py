"""``attn run``: inspect attention on saved tensors."""

from __future__ import annotations

from attn_cli.commands import options as opt
from attn_cli.commands.imports import for_good
from attn_cli.commands.parsing import parse_align, parse_selection, parse_valid_lens, parse_window, parse_zoom
from attn_cli.inputs.options import ReadOptions
from attn_cli.inputs.paths import check_readable
from attn_cli.inputs.settings import check_flags


def run(
    file: opt.File = None,
    q: opt.Q = None,
    k: opt.K = None,
    v: opt.V = None,
    weights_file: opt.WeightsFile = None,
    prefix: opt.Prefix = None,
    layer: opt.Layer = None,
    num_heads: opt.NumHeads = None,
    num_kv_heads: opt.NumKvHeads = None,
    layout: opt.LayoutOption = None,
    mask_polarity: opt.MaskPolarity = None,
    valid_lens: opt.ValidLens = None,
    causal: opt.Causal = None,
    causal_align: opt.CausalAlign = None,
    window: opt.Window = None,
    scale: opt.Scale = None,
    softcap: opt.Softcap = None,
    mask_value: opt.MaskValue = None,
    batch: opt.Batch = None,
    head: opt.Head = None,
    query: opt.Query = None,
    zoom: opt.Zoom = None,
    top: opt.Top = 3,
    similarity: opt.Similarity = False,
    device: opt.Device = "auto",
    dtype: opt.DtypeOption = None,
    backend: opt.Backend = opt.BackendName.auto,
    repeat: opt.Repeat = None,
    json_output: opt.Json = False,
    weights: opt.Weights = False,
    save: opt.Save = None,
) -> int:
    """Inspect attention on saved tensors: every head's weights, shapes, metrics and timing.

    FILE holds Q, K and V, or hidden states and projection weights; names are detected. A file with several
    layers opens with an overview; --layer N shows one of them.
    """
    read = ReadOptions(
        file=file, q=q, k=k, v=v, weights_file=weights_file, prefix=prefix and prefix.rstrip("."), layer=layer,
        num_heads=num_heads, num_kv_heads=num_kv_heads, layout=layout and layout.value,
        mask_polarity=mask_polarity and mask_polarity.value, valid_lens=parse_valid_lens(valid_lens),
        causal=causal, causal_align=parse_align(causal_align), window=parse_window(window),
        scale=scale, softcap=softcap, mask_value=mask_value, batch=parse_selection("--batch", batch),
        heads=parse_selection("--head", head), queries=parse_selection("--query", query),
    )  # fmt: skip
    window_shown = parse_zoom(zoom)
    check_flags(read)
    check_files(read)
    with for_good():
        from attn_cli.commands.running import RunRequest, run_file

    request = RunRequest(
        "run", device, dtype and dtype.value, backend.value, repeat, top, similarity, weights, json_output, save,
        window_shown,
    )  # fmt: skip
    return run_file(read, request)


def check_files(read: ReadOptions) -> None:
    """Refuse files that are not there, before torch is imported to read them."""
    named = [read.file, read.weights_file] if read.file else [read.q, read.k, read.v, read.weights_file]
    for path in named:
        if path is not None and path != "-":
            check_readable(path)
