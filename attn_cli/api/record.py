"""``attn_cli.record``: the attention calls of a block of a program, in a file or kept for the program itself."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import SupportsIndex

import torch

from attn_cli.api.given import Numbers, numbers, whole, whole_or_none
from attn_cli.api.recording import Recording
from attn_cli.api.wording import told_in_python
from attn_cli.attention.types import dtype_name
from attn_cli.errors import UsageError
from attn_cli.inputs.tokenizer import Tokenizer
from attn_cli.pipeline import DTYPES
from attn_cli.recording.options import RecordOptions
from attn_cli.reporters.atomic import check_folder

MOST_HELD = 2**30  # bytes


def record(
    path: str | os.PathLike[str] | None = None,
    *,
    layers: str | Sequence[str] = (),
    calls: range | tuple[SupportsIndex, SupportsIndex | None] | None = None,
    heads: Numbers | None = None,
    max_bytes: SupportsIndex | None = None,
    dtype: str | torch.dtype | None = None,
    stats: bool = False,
    tokenizer: str | os.PathLike[str] | None = None,
) -> Recording:
    """Catch the attention calls that are made while a ``with`` block runs; what they compute stays the same.

    The functions are swapped for ones that tell, wherever a module has them under a name. One that something else has
    kept since before the block (an object's attribute, a table, a closure, ``functools.partial``) is not heard. Look it
    up when it is called, as ``F.scaled_dot_product_attention(…)`` does, or use ``attn record``, which is there first.

    The file appears, whole, when the block ends, also where it ends by an exception. A warning tells what could not be
    recorded. In a process that is killed nothing is kept; ``attn record`` keeps what there was.

    Args:
        path: the file to write, ``.safetensors``, or ``.jsonl`` with ``stats``. Without one the calls are kept for this
            program alone, 1 GiB of them where ``max_bytes`` says no other limit.
        layers: shell patterns, one of which the path of a call's module has to match: ``"encoder.layer.[0-3].*"``.
        calls: which of all calls that are made in the block: ``range(10, 20)``, or ``(10, None)`` for the rest.
        heads: query heads to keep; all by default.
        max_bytes: how large the tensors may become together; the calls that follow are only counted.
        dtype: what to store Q, K, V and the output in; the program's own by default.
        stats: whether to inspect each call at once and write only what was found, a line of JSON a call.
        tokenizer: a ``tokenizer.json`` that turns the model's ``input_ids`` into texts.

    Returns:
        A recording, to be used in one ``with`` statement.

    Raises:
        AttnError: of ``attn_cli.errors``, where an argument is not what it has to be, or the file cannot be written.
    """
    with told_in_python():
        first, stop = _range(calls)
        name = dtype_name(dtype) if isinstance(dtype, torch.dtype) else dtype
        if name is not None and name not in DTYPES:
            raise UsageError(f"dtype {name!r}: expected one of {', '.join(DTYPES)}")
        limit = whole_or_none("max_bytes", max_bytes)
        options = RecordOptions(
            layers=(layers,) if isinstance(layers, str) else tuple(layers), first_call=first, call_stop=stop,
            heads=None if heads is None else tuple(sorted(numbers("heads", heads) or ())), dtype=name,
            max_bytes=MOST_HELD if path is None and limit is None else limit,
            tokenizer=None if tokenizer is None else os.path.abspath(tokenizer),  # the program may go elsewhere
        )  # fmt: skip
        _check(path, options, limit, stats)
        return Recording(None if path is None else os.fspath(path), options, stats)


def _range(calls: range | tuple[SupportsIndex, SupportsIndex | None] | None) -> tuple[int, int | None]:
    """The first call and the one to stop before.

    Raises:
        UsageError: where they are no range of calls.
    """
    if calls is None:
        return 0, None
    ends = (calls.start, calls.stop) if isinstance(calls, range) else calls
    refused = UsageError(f"calls {calls}: expected a first call from 0, and a stop above it, or None")
    if not isinstance(ends, (tuple, list)) or len(ends) != 2 or (isinstance(calls, range) and calls.step != 1):
        raise refused
    try:
        first, stop = whole("calls", ends[0]), whole_or_none("calls", ends[1])
    except UsageError:
        raise refused from None
    if first < 0 or (stop is not None and stop <= first):
        raise refused
    return first, stop


def _check(path: str | os.PathLike[str] | None, options: RecordOptions, max_bytes: int | None, stats: bool) -> None:
    """Refuse what cannot be recorded so, before anything is.

    Raises:
        AttnError: where arguments do not fit each other, or the file cannot be written.
    """
    if options.heads is not None and (not options.heads or options.heads[0] < 0):
        raise UsageError("heads: expected whole numbers from 0, at least one")
    if max_bytes is not None and (max_bytes < 0 or stats):
        expected = "none with stats, which keep no tensors" if stats else "a whole number from 0"
        raise UsageError(f"max_bytes {max_bytes}: expected {expected}")
    if options.tokenizer is not None:
        Tokenizer.load(options.tokenizer)
    if path is None:
        if stats:
            raise UsageError("stats: expected a path to write them to")
        return
    suffix, wanted = os.path.splitext(os.fspath(path))[1].lower(), ".jsonl" if stats else ".safetensors"
    if suffix != wanted:
        hint = "stats=True writes JSON lines" if suffix == ".jsonl" else None
        raise UsageError(
            f"{os.fspath(path)}: the recording is not written as {suffix or 'that'}; expected {wanted}", hint
        )
    check_folder(os.fspath(path))
