"""Calls for the rules of ``attn check``: random normal inputs under every kind of mask, and what a rule finds."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from attn_cli.attention.masks import MaskRule, aligned_places
from attn_cli.attention.selection import Selection
from attn_cli.attention.types import AttentionInputs, CallIndex, Rules
from attn_cli.checks.evidence import Evidence
from attn_cli.checks.runner import INSPECT
from attn_cli.checks.types import Check
from attn_cli.inputs.settings import align_name
from attn_cli.inputs.types import Convention, LoadedCall, Recorded, TensorInfo
from attn_cli.inspection.types import Finding
from attn_cli.pipeline import RunOptions, examine


def case(
    batch: int = 2, heads: int = 3, queries: int = 8, keys: int = 8, dim: int = 16, seed: int = 0, *,
    kv_heads: int | None = None, value_dim: int | None = None, dtype: torch.dtype = torch.float32,
    align: str | int = "bottom-right", align_chosen: bool = True, bias: Tensor | None = None,
    sinks: Tensor | None = None, scale: float | None = None, softcap: float | None = None,
    token_ids: Tensor | None = None, output: Tensor | None = None, weights: Tensor | None = None,
    selection: Selection | None = None, polarity: str = "keep", layer: int | None = None,
    tensors: tuple[TensorInfo, ...] = (), **mask: object,
) -> LoadedCall:  # fmt: skip
    """A call on standard normal q, k and v, as loading a file gives it.

    ``mask`` is what ``MaskRule`` takes: ``causal``, ``window``, ``valid_lens``, ``keep``, ``value``. ``output`` and
    ``weights`` are what the file says came out. ``tensors`` are the file's; None are told by default.
    """
    generator = torch.Generator().manual_seed(seed)
    kv_heads, value_dim = kv_heads or heads, value_dim or dim

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

    rule = MaskRule(keys, aligned_places(queries, keys, align), **mask)  # type: ignore[arg-type]
    inputs = AttentionInputs(
        q=normal(batch, heads, queries, dim),
        k=normal(batch, kv_heads, keys, dim),
        v=normal(batch, kv_heads, keys, value_dim),
        rules=Rules(rule, scale=scale, softcap=softcap, bias=bias, sinks=sinks),
        index=CallIndex.whole(batch, heads, queries),
        token_ids=token_ids,
    )
    return LoadedCall(
        source="case.safetensors",
        prefix="",
        layer=layer,
        selection=selection or Selection(),
        tensors=tensors,
        unused=(),
        conventions=_conventions(rule, polarity, scale),
        tokens=None,
        align=align_name(align),
        align_chosen=align_chosen,
        inputs=inputs,
        recorded=Recorded(output, weights),
    )


def _conventions(rule: MaskRule, polarity: str, scale: float | None) -> tuple[Convention, ...]:
    said = [Convention("scale", "1/√D" if scale is None else f"{scale:g}", "default" if scale is None else "--scale")]
    if rule.keep is not None:
        meaning, origin = ("may attend", "default") if polarity == "keep" else ("hidden", "--mask-polarity")
        said.append(Convention("mask", f"mask: True = {meaning}", origin))
    return tuple(said)


def evidence(call: LoadedCall, **options: object) -> Evidence:
    """The call run and inspected on the CPU; ``options`` are those of ``RunOptions``, such as ``dtype="float16"``."""
    run = replace(RunOptions(device="cpu", repeat=1, inspect=INSPECT), **options)  # type: ignore[arg-type]
    return Evidence(call, examine(call, run))


def findings(check: Check, call: LoadedCall, **options: object) -> tuple[Finding, ...]:
    """What one rule finds in a call."""
    with torch.no_grad():
        return tuple(check.find(evidence(call, **options)))


def finding(check: Check, call: LoadedCall, **options: object) -> Finding:
    """The one thing that a rule finds in a call."""
    (only,) = findings(check, call, **options)
    return only


def changed(call: LoadedCall, **tensors: Tensor) -> LoadedCall:
    """The call with other ``q``, ``k`` or ``v``."""
    assert isinstance(call.inputs, AttentionInputs)
    return replace(call, inputs=replace(call.inputs, **tensors))
