"""The options for reading a file, declared once for every command that reads one. Free of torch."""

from __future__ import annotations

from collections.abc import Callable

from attn_cli.commands import options as opt
from attn_cli.commands import step_options as steps
from attn_cli.commands.groups import Command, with_options
from attn_cli.commands.parsing import parse_align, parse_selection, parse_valid_lens, parse_window
from attn_cli.inputs.options import ReadOptions, check_pipes_once
from attn_cli.inputs.paths import JSON_EXPECTED, STDIN, check_readable, is_json
from attn_cli.inputs.settings import check_flags
from attn_cli.inputs.shards import shards_of
from attn_cli.inputs.tokenizer import check_tokenizer


def _options(
    q: opt.Q = None,
    k: opt.K = None,
    v: opt.V = None,
    weights_file: opt.WeightsFile = None,
    prefix: opt.Prefix = None,
    layer: opt.Layer = None,
    step: steps.Step = None,
    tokens: steps.Tokens = None,
    tokenizer: steps.TokenizerFile = None,
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
) -> ReadOptions:
    """What these options say about reading; the file itself is the command's own."""
    read = ReadOptions(
        q=q, k=k, v=v, weights_file=weights_file, prefix=prefix and prefix.rstrip("."), layer=layer,
        steps=parse_selection("--step", step), tokens=tokens, tokenizer=tokenizer,
        num_heads=num_heads, num_kv_heads=num_kv_heads, layout=layout and layout.value,
        mask_polarity=mask_polarity and mask_polarity.value, valid_lens=parse_valid_lens(valid_lens),
        causal=causal, causal_align=parse_align(causal_align), window=parse_window(window),
        scale=scale, softcap=softcap, mask_value=mask_value, batch=parse_selection("--batch", batch),
        heads=parse_selection("--head", head), queries=parse_selection("--query", query),
    )  # fmt: skip
    check_flags(read)
    return read


def reads_a_file(*, but: tuple[str, ...] = ()) -> Callable[[Command], Command]:
    """Give a command the options for reading a file, as its argument ``read``.

    Args:
        but: options that the command does without, or declares itself.
    """
    return with_options("read", _options, but)


def check_files(*reads: ReadOptions) -> None:
    """Refuse files that are not there, and a pipe by two names, before torch is imported to read them."""
    check_pipes_once(*reads)
    for read in reads:
        _check_files(read)


def _check_files(read: ReadOptions) -> None:
    named = [read.file, read.weights_file] if read.file else [read.q, read.k, read.v, read.weights_file]
    for path in named:
        if path is not None and path != STDIN:
            check_readable(path)
    if read.tokens is not None and is_json(read.tokens):
        check_readable(read.tokens, JSON_EXPECTED)
    if read.tokenizer is not None:
        check_tokenizer(read.tokenizer)


def files_of(read: ReadOptions) -> tuple[str | None, ...]:
    """The files that are read, or could be by their names; None and standard input are no files."""
    named = (read.file, read.weights_file, read.q, read.k, read.v, read.tokens, read.tokenizer)
    return *named, *shards_of(read.file), *shards_of(read.weights_file)
