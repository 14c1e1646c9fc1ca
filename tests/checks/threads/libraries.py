"""Threads of libraries on top: Transformer Engine, transformers, TransformerLens."""

from __future__ import annotations

import torch
from torch.nn.functional import scaled_dot_product_attention

from tests.checks.threads.captures import Capture, lengths, normal, plain_softmax

PAD = 50256  # GPT-2's end-of-text token, which pads


def transformer_engine_614() -> Capture:
    """https://github.com/NVIDIA/TransformerEngine/issues/614, "Definition of attention mask".

    Does True take part or is it masked out? The unfused path takes it for masked out; the flash path sums the mask
    to get the lengths, as if it took part. The file's mask is True at the padding of the first item, the recorded
    output is the unfused path's arithmetic.
    """
    tensors = normal(2, 3, queries=6, keys=6, dim=16)
    padding = ~lengths(3, 6, keys=6)[:, None, None]  # (B, 1, 1, Sk)
    return Capture({**tensors, "mask": padding, "output": plain_softmax(**tensors, keep=~padding)})


def transformers_36585() -> Capture:
    """https://github.com/huggingface/transformers/issues/36585, "Inconsistent Outputs When Using Flash Attention 2 …".

    With the same ``attention_mask`` FlashAttention 2 and SDPA differ. The answer there: the former leaves padding out
    and puts 0 in its place, the latter computes the rows of padding too. Real tokens agree. The recorded output is
    FlashAttention 2's: SDPA's, with 0 at the padding.
    """
    tensors, real = normal(2, 2, queries=8, keys=8, dim=16), lengths(5, 8, keys=8)
    keep = real[:, None, None]  # (B, 1, 1, Sk)
    output = scaled_dot_product_attention(tensors["q"], tensors["k"], tensors["v"], keep)
    output = output.masked_fill(~real[:, None, :, None], 0.0)  # (B, 1, Sq, 1)
    return Capture({**tensors, "attention_mask": real.long(), "output": output})


def transformers_41944() -> Capture:
    """https://github.com/huggingface/transformers/issues/41944.

    The thread itself could not be found; all that was known of it is that two backends disagree. What is
    built here is a common way to that: float16 and large q and k. Eager attention multiplies q and k in float16,
    where 17 · 64 · 64 is above 65504 and becomes ∞, and NaN in the softmax; a fused kernel keeps the product in float32
    and scales it first. The recorded output is the eager one.
    """
    tensors = {name: x.half() for name, x in normal(1, 2, queries=6, keys=6, dim=64).items()}
    tensors["q"][0, 1, 4, :17], tensors["k"][0, 1, 2, :17] = 64.0, 64.0
    logits = (tensors["q"] @ tensors["k"].transpose(-2, -1)) * 0.125
    weights = torch.softmax(logits, dim=-1, dtype=torch.float32).half()
    return Capture({**tensors, "output": weights @ tensors["v"]})


def transformer_lens_240_left() -> Capture:
    """https://github.com/TransformerLensOrg/TransformerLens/issues/240, "Add support for padding/masking …".

    Prompts of different lengths, padded on the left so that the last position is the last token of each; there was no
    attention mask, so that a causal model attends to the padding in front.
    """
    tensors = normal(2, 2, queries=8, keys=8, dim=16)
    ids = torch.arange(100, 116).reshape(2, 8)
    ids[0, :3] = PAD
    return Capture({**tensors, "token_ids": ids}, {"causal": "true"})


def transformer_lens_240_right() -> Capture:
    """https://github.com/TransformerLensOrg/TransformerLens/issues/240, its other half: BERT.

    A model without causal order attends to padding wherever it stands, here at the end.
    """
    tensors = normal(2, 2, queries=8, keys=8, dim=16)
    ids = torch.arange(100, 116).reshape(2, 8)
    ids[0, 5:] = 0
    return Capture({**tensors, "token_ids": ids})


def transformer_lens_385() -> Capture:
    """https://github.com/TransformerLensOrg/TransformerLens/issues/385, "Pythia models … don't match Huggingface".

    A comment of 2023-11-18 finds a part of the cause: in one head of pythia-70m all visible scores are near −110000,
    the mask puts −100000 at the hidden keys, and these share the whole weight: 0, 0, 0, 0, 0, ⅓, ⅓, ⅓. (Issue 318 is
    the same.) The scores at query 4 are the comment's; every other row is ordinary.
    """
    tensors = normal(1, 2, queries=8, keys=8, dim=4)  # 1/√D is ½, so that the scores come out exactly
    scores = [-110208.0547, -110189.8125, -110206.5234, -110208.4531, -110192.6016, 0.0, 0.0, 0.0]
    tensors["k"][0, 1, :, 0] = torch.tensor(scores)
    tensors["q"][0, 1, :, 0] = 0.0
    tensors["q"][0, 1, 4] = torch.tensor([2.0, 0.0, 0.0, 0.0])
    return Capture(tensors, {"causal": "true", "mask_value": "-100000"})
