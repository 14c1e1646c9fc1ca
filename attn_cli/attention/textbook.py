"""Multi-head attention as the textbook has it, one small function a step.

Read it from top to bottom: a linear projection each for Q, K and V, split into heads, compare every query with
every key, turn the scores into weights, mix the values, put the heads side by side again and project once more.
Everything else in attn that computes attention is tested against this file.

Vaswani et al. 2017, "Attention is all you need", section 3.2; Zhang et al., "Dive into Deep Learning", 11.3 and 11.5.
B batch, H heads, Sq queries, Sk keys, D features of a head.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from attn_cli.attention.types import AttentionInputs, CallIndex, LinearWeights, ModuleInputs


def project(x: Tensor, layer: LinearWeights) -> Tensor:
    """x · Wᵀ + b: ``(..., in_features)`` to ``(..., out_features)``."""
    projected = x @ layer.weight.mT
    return projected if layer.bias is None else projected + layer.bias


def split_heads(x: Tensor, num_heads: int) -> Tensor:
    """Cut the features into heads: ``(B, S, H·D)`` to ``(B, H, S, D)``."""
    batch, length, features = x.shape
    x = x.reshape(batch, length, num_heads, features // num_heads)  # (B, S, H, D)
    return x.transpose(1, 2)  # (B, H, S, D)


def combine_heads(x: Tensor) -> Tensor:
    """Put the heads side by side again: ``(B, H, S, D)`` to ``(B, S, H·D)``."""
    batch, heads, length, features = x.shape
    return x.transpose(1, 2).reshape(batch, length, heads * features)


def share_key_value_heads(x: Tensor, num_heads: int) -> Tensor:
    """Hand every group of query heads its key/value head: ``(B, Hkv, S, D)`` to ``(B, Hq, S, D)``.

    Query head h reads key/value head h // (Hq / Hkv) (Ainslie 2023, grouped-query attention).
    """
    groups = num_heads // x.shape[1]
    return x if groups == 1 else x.repeat_interleave(groups, dim=1)


def compare(q: Tensor, k: Tensor) -> Tensor:
    """Q·Kᵀ, the dot product of every query with every key: ``(B, H, Sq, Sk)``."""
    return q @ k.mT


def cap(logits: Tensor, softcap: float) -> Tensor:
    """c·tanh(logits/c): keeps every logit between −c and c (Gemma 2)."""
    return softcap * torch.tanh(logits / softcap)


def hide(logits: Tensor, keep: Tensor, value: float | None) -> Tensor:
    """Replace the logits of hidden keys, those where ``keep`` is False, by −∞ or by ``value``."""
    return logits.masked_fill(~keep, -torch.inf if value is None else value)


def softmax(logits: Tensor, sinks: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor | None]:
    """Each row's exponentials over their sum.

    The row's largest logit is taken off first: the quotient stays the same and no exponential overflows.
    A row whose logits are all −∞ has no visible key: its weights are 0. A sink is one more logit in the
    denominator that owns no value (StreamingLLM, gpt-oss).

    Returns:
        weights ``(B, H, Sq, Sk)``; lse ``(B, H, Sq)``, ln Σⱼ exp(logitᵢⱼ) without the sink; and the sink's
        weight ``(B, H, Sq)``, or None.
    """
    peak = logits.detach().amax(dim=-1, keepdim=True)  # (B, H, Sq, 1), of which no gradient depends
    if sinks is not None:
        peak = torch.maximum(peak, sinks.detach()[:, None, None])
    peak = torch.where(peak == -torch.inf, 0.0, peak)
    exponentials = torch.exp(logits - peak)
    total = exponentials.sum(dim=-1, keepdim=True)  # (B, H, Sq, 1)
    lse = (torch.log(total) + peak).squeeze(-1)
    if sinks is None:
        weights = exponentials / torch.where(total == 0, 1.0, total)
        return weights, lse, None
    sink = torch.exp(sinks[:, None, None] - peak)
    total = total + sink
    total = torch.where(total == 0, 1.0, total)  # a sink of −∞ is none
    return exponentials / total, lse, (sink / total).squeeze(-1)


def mix(weights: Tensor, v: Tensor) -> Tensor:
    """Weights · V, every query's weighted mean of the values: ``(B, H, Sq, Dv)``."""
    return weights @ v


@dataclass(frozen=True)
class Steps:
    """Every stage of one attention call, or of a block of its query rows.

    Attributes:
        scores: Q·Kᵀ, ``(B, Hq, Sq, Sk)``.
        scaled: after the scale.
        capped: after the softcap (the same tensor where there is none).
        biased: after the bias (the same tensor where there is none).
        masked: after the mask (the same tensor where nothing is hidden).
        keep: the mask, True = may attend, broadcasts to the weights' shape; None where nothing is hidden.
        weights: after the softmax; a row sums to 1 together with its sink.
        sink: the sink's weight ``(B, Hq, Sq)``, or None.
        lse: ``(B, Hq, Sq)``, log-sum-exp of a row's logits, without the sink.
        output: weights · V, ``(B, Hq, Sq, Dv)``.
    """

    scores: Tensor
    scaled: Tensor
    capped: Tensor
    biased: Tensor
    masked: Tensor
    keep: Tensor | None
    weights: Tensor
    sink: Tensor | None
    lse: Tensor
    output: Tensor


def attend(inputs: AttentionInputs, rows: slice = slice(None)) -> Steps:
    """All steps from Q, K and V to the output, for these query rows.

    A row of attention depends on no other row, so a block of them gives the same numbers as all at once.
    """
    rules, num_heads = inputs.rules, inputs.q.shape[1]
    k = share_key_value_heads(inputs.k, num_heads)  # (B, Hq, Sk, D)
    v = share_key_value_heads(inputs.v, num_heads)  # (B, Hq, Sk, Dv)

    scores = compare(inputs.q[:, :, rows], k)  # (B, Hq, r, Sk)
    scaled = scores * inputs.scale
    capped = scaled if rules.softcap is None else cap(scaled, rules.softcap)
    biased = capped if rules.bias is None else capped + rows_of(rules.bias, rows)
    keep = rules.mask.tile(rows)
    masked = biased if keep is None else hide(biased, keep, rules.mask.value)
    weights, lse, sink = softmax(masked, rules.sinks)
    output = mix(weights, v)  # (B, Hq, r, Dv)
    return Steps(scores, scaled, capped, biased, masked, keep, weights, sink, lse, output)


def rows_of(x: Tensor, rows: slice) -> Tensor:
    """These query rows of a tensor that broadcasts to ``(B, Hq, Sq, Sk)``."""
    return x if x.shape[2] == 1 else x[:, :, rows]


def project_inputs(module: ModuleInputs) -> AttentionInputs:
    """The module's first steps: queries, keys and values through W_q, W_k and W_v, split into heads."""
    q = split_heads(project(module.queries, module.W_q), module.num_heads)  # (B, Hq, Sq, D)
    k = split_heads(project(module.keys, module.W_k), module.num_kv_heads)  # (B, Hkv, Sk, D)
    v = split_heads(project(module.values, module.W_v), module.num_kv_heads)  # (B, Hkv, Sk, Dv)
    index = CallIndex.whole(q.shape[0], q.shape[1], q.shape[2])
    return AttentionInputs(q, k, v, module.rules, index, module.W_o, module.token_ids)


def project_output(output: Tensor, layer: LinearWeights) -> Tensor:
    """The module's last steps: combine the heads and project, ``(B, Hq, Sq, Dv)`` to ``(B, Sq, E)``."""
    return project(combine_heads(output), layer)
