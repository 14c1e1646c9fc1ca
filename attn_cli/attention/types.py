"""What passes into attention: frozen records of tensors, with the shapes every room relies on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import reduce

import torch
from torch import Tensor

from attn_cli.attention.masks import MaskRule


@dataclass(frozen=True)
class LinearWeights:
    """One linear layer as numbers: y = x · weightᵀ + bias.

    Attributes:
        weight: ``(out_features, in_features)``, as in ``torch.nn.Linear``.
        bias: ``(out_features,)`` or None.
    """

    weight: Tensor
    bias: Tensor | None = None

    def to(self, device: torch.device, dtype: torch.dtype) -> LinearWeights:
        """The same layer on ``device`` as ``dtype``."""
        bias = None if self.bias is None else self.bias.to(device, dtype)
        return LinearWeights(self.weight.to(device, dtype), bias)


@dataclass(frozen=True)
class Rules:
    """All that stands between Q·Kᵀ and the weights.

    Attributes:
        mask: who may attend to whom.
        scale: factor on Q·Kᵀ; None is 1/√D.
        softcap: c of c·tanh(logits/c); None is no cap.
        bias: float, added to the logits, four axes that broadcast to ``(B, Hq, Sq, Sk)``.
        sinks: ``(Hq,)``, one learned logit a head that joins the softmax's denominator and has no value.
    """

    mask: MaskRule
    scale: float | None = None
    softcap: float | None = None
    bias: Tensor | None = None
    sinks: Tensor | None = None

    def to(self, device: torch.device, dtype: torch.dtype) -> Rules:
        """The same rules on ``device``, bias and sinks as ``dtype``.

        A call keeps them in its accumulation dtype: rounding a bias of −1e9 or of 1000.25 to a half type would change
        the weights. What a kernel needs in its own dtype, it converts itself.
        """
        return replace(
            self,
            mask=self.mask.to(device),
            bias=None if self.bias is None else self.bias.to(device, dtype),
            sinks=None if self.sinks is None else self.sinks.to(device, dtype),
        )


@dataclass(frozen=True)
class CallIndex:
    """Where the rows of a selection sit in the whole call.

    Attributes:
        batch: original batch item of each selected one, ``B`` numbers.
        heads: original query head of each selected one, ``Hq`` numbers.
        queries: ``(Sq,)`` int64 on the CPU, original row of each selected query.
        total_batch, total_heads, total_queries: the sizes before the selection.
    """

    batch: tuple[int, ...]
    heads: tuple[int, ...]
    queries: Tensor
    total_batch: int
    total_heads: int
    total_queries: int

    @classmethod
    def whole(cls, batch: int, heads: int, queries: int) -> CallIndex:
        """The index of a call of which nothing was left out."""
        return cls(tuple(range(batch)), tuple(range(heads)), torch.arange(queries), batch, heads, queries)

    @property
    def has_every_head(self) -> bool:
        """True where no head was left out, so that what needs a whole layer can be formed."""
        return len(self.heads) == self.total_heads and sorted(self.heads) == list(range(self.total_heads))


@dataclass(frozen=True)
class AttentionInputs:
    """One attention call on projected heads.

    Attributes:
        q: ``(B, Hq, Sq, D)``.
        k: ``(B, Hkv, Sk, D)``; query head h reads key/value head ``h // (Hq / Hkv)``.
        v: ``(B, Hkv, Sk, Dv)``.
        rules: scale, softcap, bias, mask and sinks.
        output_projection: W_o with ``in_features`` = total heads · Dv, or None where it is not known.
        token_ids: ``(B, Sk)`` int64, or None.
        index: where a selection sits in the whole call.
    """

    q: Tensor
    k: Tensor
    v: Tensor
    rules: Rules
    index: CallIndex
    output_projection: LinearWeights | None = None
    token_ids: Tensor | None = None

    @property
    def dtype(self) -> torch.dtype:
        """The dtype that holds q, k and v; a file may have them in several."""
        return common_dtype(self.q, self.k, self.v)

    @property
    def scale(self) -> float:
        """The factor on Q·Kᵀ: the one that was given, or 1/√D (Vaswani 2017, equation 1)."""
        given = self.rules.scale
        return self.q.shape[-1] ** -0.5 if given is None else given

    @property
    def weights_shape(self) -> tuple[int, int, int, int]:
        """``(B, Hq, Sq, Sk)``."""
        batch, heads, queries, _ = self.q.shape
        return batch, heads, queries, self.k.shape[2]

    def to(self, device: torch.device, dtype: torch.dtype) -> AttentionInputs:
        """The same call on ``device`` with its floating tensors as ``dtype``."""
        projection = self.output_projection
        return replace(
            self,
            q=self.q.to(device, dtype),
            k=self.k.to(device, dtype),
            v=self.v.to(device, dtype),
            rules=self.rules.to(device, accumulation_dtype(dtype)),
            output_projection=None if projection is None else projection.to(device, dtype),
            token_ids=None if self.token_ids is None else self.token_ids.to(device),
        )


@dataclass(frozen=True)
class ModuleInputs:
    """One call of the whole multi-head module: what is to be projected, and the projections.

    Attributes:
        queries: ``(B, Sq, query_size)``.
        keys: ``(B, Sk, key_size)``.
        values: ``(B, Sk, value_size)``.
        W_q, W_k, W_v: to Hq·D, Hkv·D and Hkv·Dv features.
        W_o: from Hq·Dv features, or None where the file has no output projection.
        num_heads: Hq.
        num_kv_heads: Hkv, a divisor of Hq.
        rules: scale, softcap, bias, mask and sinks.
        token_ids: ``(B, Sk)`` int64, or None.
    """

    queries: Tensor
    keys: Tensor
    values: Tensor
    W_q: LinearWeights
    W_k: LinearWeights
    W_v: LinearWeights
    W_o: LinearWeights | None
    num_heads: int
    num_kv_heads: int
    rules: Rules
    token_ids: Tensor | None = None

    @property
    def dtype(self) -> torch.dtype:
        """The dtype that holds the inputs and the weights; a file may have them in several."""
        layers = [layer for layer in (self.W_q, self.W_k, self.W_v, self.W_o) if layer is not None]
        return common_dtype(self.queries, self.keys, self.values, *(layer.weight for layer in layers))

    def to(self, device: torch.device, dtype: torch.dtype) -> ModuleInputs:
        """The same call on ``device`` with its floating tensors as ``dtype``."""
        return replace(
            self,
            queries=self.queries.to(device, dtype),
            keys=self.keys.to(device, dtype),
            values=self.values.to(device, dtype),
            W_q=self.W_q.to(device, dtype),
            W_k=self.W_k.to(device, dtype),
            W_v=self.W_v.to(device, dtype),
            W_o=None if self.W_o is None else self.W_o.to(device, dtype),
            rules=self.rules.to(device, accumulation_dtype(dtype)),
            token_ids=None if self.token_ids is None else self.token_ids.to(device),
        )


def dtype_name(dtype: torch.dtype) -> str:
    """``torch.float32`` to ``"float32"``."""
    return str(dtype).removeprefix("torch.")


def common_dtype(*tensors: Tensor) -> torch.dtype:
    """The dtype that holds all of these; eight-bit floats count as float32, since nothing computes with them."""
    computed = (torch.float32 if x.dtype.itemsize == 1 else x.dtype for x in tensors)
    return reduce(torch.promote_types, computed)


def accumulation_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype that statistics are formed in: float32 at least, float64 for float64."""
    return torch.float64 if dtype == torch.float64 else torch.float32
