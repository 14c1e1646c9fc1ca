"""``attn record``: the attention calls of any PyTorch program."""

from __future__ import annotations

from attn_cli.commands import recording_options as opt
from attn_cli.commands.parsing import parse_bytes, parse_calls, parse_selection
from attn_cli.errors import UsageError
from attn_cli.inputs.tokenizer import Tokenizer
from attn_cli.recording.options import RecordOptions

TENSORS_ALONE = "--stats stores no tensors; expected one of them"


def record(
    program: opt.Program = None,
    is_module: opt.IsModule = False,
    layers: opt.Layers = None,
    calls: opt.Calls = None,
    heads: opt.Heads = None,
    max_bytes: opt.MaxBytes = None,
    dtype: opt.StoredDtype = None,
    tokenizer: opt.TokenizerFile = None,
    output: opt.Output = None,
    stats: opt.Stats = False,
    quiet: opt.Quiet = False,
) -> int:
    """Run a Python program as it is and record its attention calls, for attn run, check, diff and explain.

    The program's arguments, output and exit code are its own, and what it computes stays the same. SCRIPT, or -m
    MODULE, comes last: all behind it is the program's.
    """
    if not program:
        raise UsageError("found no program; expected a script, or -m and a module", "attn record train.py --epochs 1")
    if stats and (max_bytes is not None or dtype is not None):
        raise UsageError(f"{'--dtype' if max_bytes is None else '--max-bytes'}: {TENSORS_ALONE}")
    (opt.check_module if is_module else opt.check_script)(program[0])
    if tokenizer is not None:
        Tokenizer.load(tokenizer)  # refused now, not in the middle of the program
    first, stop = parse_calls(calls)
    chosen = parse_selection("--heads", heads)
    limit = max_bytes or opt.DEFAULT_BYTES
    options = RecordOptions(
        layers=tuple(layers or ()), first_call=first, call_stop=stop, heads=chosen and tuple(sorted(chosen)),
        max_bytes=None if stats else parse_bytes("--max-bytes", limit),
        dtype=dtype and dtype.value, tokenizer=opt.whole_path(tokenizer),
    )  # fmt: skip
    from attn_cli.commands.recording import RecordRequest, run_recorded

    return run_recorded(RecordRequest(tuple(program), is_module, output, stats, quiet, limit, options))
