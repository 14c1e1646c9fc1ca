"""``attn_cli.inspect``: Q, K and V of a running program, read by the same rules as a file's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Literal, SupportsIndex

import torch
from torch import Tensor

from attn_cli.api.given import Array, Lengths, Numbers, Texts, Window, alignment, numbers, sides, whole, whole_or_none
from attn_cli.api.inspection import Inspection
from attn_cli.api.running import run_here, run_options
from attn_cli.api.wording import told_in_python, with_arguments
from attn_cli.attention.types import AttentionInputs
from attn_cli.errors import in_file
from attn_cli.inputs.options import ReadOptions
from attn_cli.inputs.plans import plan_calls
from attn_cli.inputs.readers.memory import MemoryFile
from attn_cli.inputs.tokens import KEY as TOKENS
from attn_cli.inputs.types import LoadedCall
from attn_cli.recording.types import Align

LABEL = "attn_cli.inspect"
SOURCE = "tensors in memory"


def inspect(  # noqa: D417 (those that go together share a line)
    q: Array, k: Array, v: Array, *,
    mask: Array | None = None, bias: Array | None = None,
    valid_lens: Array | Lengths | None = None, causal: bool = False, causal_align: Align | SupportsIndex | None = None,
    window: Window | None = None,
    scale: float | None = None, softcap: float | None = None, sinks: Array | None = None,
    mask_value: float | None = None, mask_polarity: Literal["keep", "drop"] | None = None,
    token_ids: Array | None = None, tokens: Texts | None = None,
    num_heads: SupportsIndex | None = None, num_kv_heads: SupportsIndex | None = None,
    layout: Literal["bhsd", "bshd"] | None = None,
    batch: Numbers | None = None, head: Numbers | None = None, query: Numbers | None = None,
    top: SupportsIndex = 3, weights: bool = False, similarity: bool = False,
    backend: str = "auto", device: str | torch.device | None = None, dtype: str | torch.dtype | None = None,
) -> Inspection:  # fmt: skip
    """Say what every head of one attention call does; the program around it stays as it is.

    Args:
        q: queries: ``(B, Hq, Sq, D)``; ``(Hq, Sq, D)`` is a batch of one; ``(B, Sq, Hq·D)`` with ``num_heads``.
        k, v: keys and values, likewise; query head h reads key/value head ``h // (Hq / Hkv)``.
        mask: bool, True = may attend; 2 to 4 axes that broadcast from the right to ``(B, Hq, Sq, Sk)``.
        bias: float, added to the logits; axes as those of ``mask``.
        valid_lens: ``(B,)`` or ``(B, Sq)`` whole numbers, keys to attend to, counted from the first.
        causal, causal_align, window, scale, softcap, mask_value, mask_polarity: as the options of ``attn run``.
        sinks: ``(Hq,)`` learned logits in the denominator.
        token_ids: ``(B, Sk)`` whole numbers; they bring ``induction_score`` and ``duplicate_score``.
        tokens: the text of each key, a list for each batch item, or one list for a batch of one.
        num_heads, num_kv_heads: how ``(B, S, H·D)`` is cut.
        layout: ``"bhsd"``, or ``"bshd"`` for ``(B, S, H, D)``.
        batch, head, query: the batch items, query heads and query rows to inspect; all by default.
        top: how many of the strongest query → key pairs of each head to name.
        weights, similarity: whether to keep all weights, and to compare every two heads.
        backend: what computes the output that the weights are checked against.
        device: where to compute; where ``q`` is by default.
        dtype: what to convert to first; the tensors' own by default.

    Raises:
        AttnError: of ``attn_cli.errors``, where an argument is not what it has to be.
    """
    tensors = {"q": q, "k": k, "v": v, "mask": mask, "bias": bias, "valid_lens": valid_lens, "sinks": sinks}
    with told_in_python():
        read = ReadOptions(
            num_heads=whole_or_none("num_heads", num_heads), num_kv_heads=whole_or_none("num_kv_heads", num_kv_heads),
            layout=layout, causal=causal or None, causal_align=alignment(causal_align), window=sides(window),
            scale=scale, softcap=softcap, mask_value=mask_value, mask_polarity=mask_polarity,
            batch=numbers("batch", batch), heads=numbers("head", head), queries=numbers("query", query),
        )  # fmt: skip
        options = run_options(
            whole("top", top), weights, similarity, backend, _device(q) if device is None else device, dtype
        )
        return run_here(lambda: _read({**tensors, "token_ids": token_ids}, tokens, read), options)


def _device(q: object) -> torch.device:
    return q.device if isinstance(q, Tensor) else torch.device("cpu")


def _read(values: Mapping[str, object], tokens: Texts | None, read: ReadOptions) -> LoadedCall:
    """The call that these tensors are.

    Raises:
        AttnError: where they are none.
    """
    present = {name: value for name, value in values.items() if value is not None}
    texts = {} if tokens is None else {TOKENS: _json(tokens)}
    (plan,) = plan_calls(read, MemoryFile(present, LABEL, texts), None)
    call = plan.load()
    if tokens is not None and call.tokens is None:
        assert isinstance(call.inputs, AttentionInputs)  # q, k and v are projected heads
        batch, _, keys, _ = call.inputs.k.shape
        raise in_file(LABEL, "tokens do not fit", f"expected {batch} lists of {keys} texts, one a key")
    return with_arguments(replace(call, source=SOURCE), in_memory=True)


def _json(tokens: Texts) -> str:
    rows = [row if isinstance(row, str) else [str(token) for token in row] for row in tokens]
    return json.dumps(rows)
