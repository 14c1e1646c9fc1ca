"""What a person may say about how a file is to be read. Free of torch, so that the command line can build it."""

from __future__ import annotations

from dataclasses import dataclass

from attn_cli.errors import UsageError
from attn_cli.inputs.paths import STDIN, is_json, pipe_of
from attn_cli.inputs.text import shown


@dataclass(frozen=True)
class ReadOptions:
    """How to read a file, as parsed from the command line; None leaves the choice to the file, then to the default.

    Attributes:
        file: path, ``"-"`` for standard input, or None where ``q``, ``k`` and ``v`` name ``.npy`` files.
        q, k, v: names of tensors in ``file``, or paths of ``.npy`` files where there is no ``file``.
        weights_file: a file with projection weights, or a ``*.safetensors.index.json``.
        prefix: what stands before the names of the wanted call or of its projection weights.
        layer: number of the wanted layer.
        steps: of a recording, which calls of a module: 0 is its first.
        num_heads, num_kv_heads: how (B, S, H·D) is cut.
        layout: ``"bhsd"`` or ``"bshd"``; None is the file's, then ``"bhsd"``.
        valid_lens: one length a batch item, or one row of lengths a batch item.
        causal: True switches causal order on; None leaves it to the file's metadata.
        causal_align: ``"bottom-right"``, ``"top-left"`` or a whole number.
        window: keys kept on each side, −1 is unlimited.
        scale, softcap, mask_value: numbers.
        mask_polarity: ``"keep"`` (True = may attend) or ``"drop"`` (True = hidden); None is ``"keep"``.
        batch, heads, queries: the numbers to inspect.
        tokens: a JSON file (``*.json``) with texts or ids of the keys, or the name of a tensor in ``file`` with ids.
        tokenizer: a ``tokenizer.json`` that turns token ids into texts.
    """

    file: str | None = None
    q: str | None = None
    k: str | None = None
    v: str | None = None
    weights_file: str | None = None
    prefix: str | None = None
    layer: int | None = None
    steps: tuple[int, ...] | None = None
    num_heads: int | None = None
    num_kv_heads: int | None = None
    layout: str | None = None
    valid_lens: tuple[int, ...] | tuple[tuple[int, ...], ...] | None = None
    causal: bool | None = None
    causal_align: str | int | None = None
    window: tuple[int, int] | None = None
    scale: float | None = None
    softcap: float | None = None
    mask_value: float | None = None
    mask_polarity: str | None = None
    batch: tuple[int, ...] | None = None
    heads: tuple[int, ...] | None = None
    queries: tuple[int, ...] | None = None
    tokens: str | None = None
    tokenizer: str | None = None


def check_pipes_once(*reads: ReadOptions) -> None:
    """Refuse to read standard input or a named pipe twice, by whatever names.

    Args:
        reads: all that one command reads.

    Raises:
        UsageError: naming two of them.
    """
    given: list[tuple[str, str]] = []
    for read in reads:
        tokens = read.tokens if read.tokens is not None and is_json(read.tokens) else None
        paths = (("", read.file), ("--weights-file ", read.weights_file), ("--tokens ", tokens))
        given += [(f"{flag}{path}", path) for flag, path in paths if path is not None]
    names: dict[object, str] = {}  # by pipe
    for name, path in given if len(given) > 1 else ():
        pipe = pipe_of(path)
        if pipe is None:
            continue
        if pipe in names:
            what = "standard input" if pipe == STDIN else "a pipe"
            found = f"{shown(names[pipe])} and {shown(name)}: {what} can be read once"
            raise UsageError(f"{found}; expected a file instead of one")
        names[pipe] = name
