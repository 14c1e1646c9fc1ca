"""Calls to explain, as loading a file gives them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from attn_cli.attention.selection import Selection
from attn_cli.attention.types import AttentionInputs, ModuleInputs
from attn_cli.explanation import Explanation, KernelOptions, Wanted, explain
from attn_cli.inputs.types import Convention, LoadedCall
from tests.attention.calls import make_call
from tests.inspection.cases import with_everything


def loaded(inputs: AttentionInputs | ModuleInputs, tokens: Any = None, source: str = "case.safetensors") -> LoadedCall:
    """A call of a file."""
    return LoadedCall(
        source=source,
        prefix="",
        layer=None,
        inputs=inputs,
        selection=Selection(),
        tensors=(),
        unused=(),
        conventions=(Convention("scale", "as told below", "default"),),
        tokens=tokens,
        align="bottom-right",
        align_chosen=True,
    )


def tell(
    inputs: AttentionInputs | ModuleInputs,
    batch: int = 0,
    head: int = 0,
    query: int = 0,
    key: int | None = None,
    top: int = 5,
    tokens: Any = None,
    **kernel: Any,
) -> Explanation:
    """An explanation of a row or a cell."""
    options = KernelOptions(**{"device": "cpu", **kernel})
    return explain(loaded(inputs, tokens), Wanted(batch, head, query, key, top), options)


def full(seed: int = 0, dtype: torch.dtype = torch.float32, **changed: Any) -> AttentionInputs:
    """A call with every rule that there is: grouped queries, softcap, bias, causal order, lengths, keep mask, sinks."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    keep = torch.rand(2, 1, 5, 7, generator=generator) < 0.8
    rules: dict[str, Any] = {
        "kv_heads": 2,
        "softcap": 4.0,
        "bias": normal(1, 4, 5, 7),
        "sinks": normal(4),
        "causal": True,
        "window": (4, -1),
        "valid_lens": torch.tensor([6, 7]),
        "keep": keep,
    }
    return with_everything(make_call(seed=seed, dtype=dtype, **(rules | changed)), seed)
