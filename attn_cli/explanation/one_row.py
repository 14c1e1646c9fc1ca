"""One query row of one head, cut out of a call; K and V are taken a bounded number of keys at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from attn_cli.attention import textbook
from attn_cli.attention.blocks import row_blocks
from attn_cli.attention.selection import Selection, select
from attn_cli.attention.types import AttentionInputs, CallIndex, LinearWeights, ModuleInputs, Rules
from attn_cli.inputs.types import LoadedCall

NUMBERS_AT_ONCE = 2**16  # in float64 half a MiB, which a core keeps near
FEATURES_AT_ONCE = 2**20  # where they are projected first, which larger blocks make good use of


@dataclass(frozen=True)
class OneRow:
    """A call of one batch item, one query head and one query, as the file has it; what it gives is float64.

    Attributes:
        inputs: every axis but the keys' and the features' has size 1. Of a file that is mapped they are views.
        layers: W_q, W_k and W_v of this head in float64, where Q, K and V are not projected yet.
        W_o: ``(E, Dv)``, this head's columns of the output projection, or None where it is not known.
    """

    inputs: AttentionInputs | ModuleInputs
    layers: tuple[LinearWeights, LinearWeights, LinearWeights] | None
    W_o: Tensor | None

    @property
    def rules(self) -> Rules:
        """Mask, bias and sink of this row, bias and sink as float64."""
        return self.inputs.rules.to(torch.device("cpu"), torch.float64)

    @property
    def num_keys(self) -> int:
        """Sk."""
        return self.inputs.rules.mask.num_keys

    def query(self) -> Tensor:
        """q, ``(D,)``."""
        inputs = self.inputs
        return self._exact(inputs.q[0, 0] if isinstance(inputs, AttentionInputs) else inputs.queries[0], 0)[0]

    def keys(self, some: slice) -> Tensor:
        """These rows of K, ``(keys, D)``."""
        inputs = self.inputs
        return self._exact((inputs.k[0, 0] if isinstance(inputs, AttentionInputs) else inputs.keys[0])[some], 1)

    def values(self, some: slice) -> Tensor:
        """These rows of V, ``(keys, Dv)``."""
        inputs = self.inputs
        return self._exact((inputs.v[0, 0] if isinstance(inputs, AttentionInputs) else inputs.values[0])[some], 2)

    def _exact(self, x: Tensor, layer: int) -> Tensor:
        """``x`` in float64, through this layer where it is not yet projected."""
        x = x.to(torch.float64)
        return x if self.layers is None else textbook.project(x, self.layers[layer])

    def blocks(self) -> Iterator[slice]:
        """All keys, so many at a time that K or V of them fit the work space."""
        inputs = self.inputs
        if isinstance(inputs, AttentionInputs):
            widest, at_once = max(inputs.k.shape[-1], inputs.v.shape[-1]), NUMBERS_AT_ONCE
        else:
            widest, at_once = max(inputs.keys.shape[-1], inputs.values.shape[-1]), FEATURES_AT_ONCE
        yield from row_blocks(self.num_keys, widest, at_once)

    def project(self, x: Tensor) -> Tensor | None:
        """x · W_o,hᵀ, this head's part of the projected output: ``(…, Dv)`` to ``(…, E)``."""
        return None if self.W_o is None else textbook.project(x, LinearWeights(self.W_o.to(torch.float64)))


def cut_row(call: LoadedCall, batch: int, head: int, query: int) -> OneRow:
    """The row of these numbers; they lie in the call."""
    inputs = call.inputs
    if isinstance(inputs, AttentionInputs):
        index = inputs.index
        row = select(inputs, Selection((batch,), (index.heads.index(head),), (query,)))
        columns = _columns(inputs.output_projection, head, index.total_heads)
        return OneRow(replace(row, output_projection=None, token_ids=None), None, columns)
    module = _cut_module(inputs, Selection((batch,), (head,), (query,)))
    W_q, W_k, W_v = (layer.to(torch.device("cpu"), torch.float64) for layer in (module.W_q, module.W_k, module.W_v))
    return OneRow(module, (W_q, W_k, W_v), _columns(inputs.W_o, head, inputs.num_heads))


def _cut_module(module: ModuleInputs, selection: Selection) -> ModuleInputs:
    """The module with this head's features of each projection alone."""
    (batch,), (head,), (query,) = (numbers or () for numbers in (selection.batch, selection.heads, selection.queries))
    kv_head = head // (module.num_heads // module.num_kv_heads)
    return ModuleInputs(
        queries=module.queries[batch : batch + 1, query : query + 1],
        keys=module.keys[batch : batch + 1],
        values=module.values[batch : batch + 1],
        W_q=_head_of(module.W_q, head, module.num_heads),
        W_k=_head_of(module.W_k, kv_head, module.num_kv_heads),
        W_v=_head_of(module.W_v, kv_head, module.num_kv_heads),
        W_o=None,
        num_heads=1,
        num_kv_heads=1,
        rules=_rules_of(module, selection),
    )


def _head_of(layer: LinearWeights, head: int, heads: int) -> LinearWeights:
    size = layer.weight.shape[0] // heads
    some = slice(head * size, (head + 1) * size)
    return LinearWeights(layer.weight[some], None if layer.bias is None else layer.bias[some])


def _rules_of(module: ModuleInputs, selection: Selection) -> Rules:
    """The rules of a selection, cut by :func:`select` out of a call without numbers."""
    nothing = torch.empty(1)
    batch, queries = module.queries.shape[:2]
    q = nothing.expand(batch, module.num_heads, queries, 1)
    k = nothing.expand(batch, module.num_kv_heads, module.keys.shape[1], 1)
    hollow = AttentionInputs(q, k, k, module.rules, CallIndex.whole(batch, module.num_heads, queries))
    return select(hollow, selection).rules


def _columns(layer: LinearWeights | None, head: int, heads: int) -> Tensor | None:
    if layer is None:
        return None
    size = layer.weight.shape[1] // heads
    return layer.weight[:, head * size : (head + 1) * size]
