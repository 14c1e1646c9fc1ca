"""``attn_cli.load``: the attention calls of a file, each read when it is inspected."""

from __future__ import annotations

import os
from typing import Literal, SupportsIndex

from attn_cli.api.given import Lengths, Numbers, Window, alignment, lengths, numbers, sides, whole_or_none
from attn_cli.api.stored import StoredCalls
from attn_cli.api.wording import told_in_python
from attn_cli.inputs.options import ReadOptions
from attn_cli.inputs.source import open_calls
from attn_cli.recording.types import Align

Path = str | os.PathLike[str]


def load(  # noqa: D417 (those that go together share a line)
    path: Path, *, layer: SupportsIndex | None = None, step: Numbers | None = None, prefix: str | None = None,
    weights_file: Path | None = None, tokens: Path | None = None, tokenizer: Path | None = None,
    num_heads: SupportsIndex | None = None, num_kv_heads: SupportsIndex | None = None,
    layout: Literal["bhsd", "bshd"] | None = None,
    mask_polarity: Literal["keep", "drop"] | None = None, valid_lens: Lengths | None = None,
    causal: bool | None = None, causal_align: Align | SupportsIndex | None = None, window: Window | None = None,
    scale: float | None = None, softcap: float | None = None, mask_value: float | None = None,
    batch: Numbers | None = None, head: Numbers | None = None, query: Numbers | None = None,
) -> StoredCalls:  # fmt: skip
    """Find the attention calls of a file; none is read before it is inspected or its tensors are asked for.

    Args:
        path: a ``.safetensors``, ``.npz``, ``.pt`` or ``.pth`` file, as ``attn run`` takes it.
        layer: the layer to read, of several.
        step: of a recording, which of each module's calls: 0 is the first.
        prefix: what stands before the names of the wanted calls, or of their projection weights.
        weights_file: a file with projection weights, or a sharded checkpoint's ``.index.json``.
        tokens: a JSON file with the text or the id of each key, or the name of a tensor of ids.
        tokenizer: a ``tokenizer.json`` that turns ids into texts.
        num_heads, num_kv_heads, layout, mask_polarity: how tensors are read, as the options of ``attn run``.
        valid_lens, causal, causal_align, window, scale, softcap, mask_value: rules that win over the file's.
        batch, head, query: the batch items, query heads and query rows to inspect.

    Returns:
        The calls, by layer, then by prefix.

    Raises:
        AttnError: of ``attn_cli.errors``, where the file cannot be read, or holds no such call.
    """
    with told_in_python():
        read = ReadOptions(
            file=os.fspath(path), prefix=None if prefix is None else prefix.rstrip("."),
            layer=whole_or_none("layer", layer), steps=numbers("step", step), weights_file=_text(weights_file),
            tokens=_text(tokens), tokenizer=_text(tokenizer), num_heads=whole_or_none("num_heads", num_heads),
            num_kv_heads=whole_or_none("num_kv_heads", num_kv_heads), layout=layout, mask_polarity=mask_polarity,
            valid_lens=lengths(valid_lens), causal=causal, causal_align=alignment(causal_align), window=sides(window),
            scale=scale, softcap=softcap, mask_value=mask_value, batch=numbers("batch", batch),
            heads=numbers("head", head), queries=numbers("query", query),
        )  # fmt: skip
        return StoredCalls.of(open_calls(read))


def _text(path: Path | None) -> str | None:
    return None if path is None else os.fspath(path)
