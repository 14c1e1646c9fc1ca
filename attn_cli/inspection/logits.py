"""The logits and the weights of a rectangle of query rows × keys, by the textbook's steps in their order."""

from __future__ import annotations

import torch
from torch import Tensor

from attn_cli.attention import textbook
from attn_cli.inspection.areas import Area
from attn_cli.inspection.call import Call

HIDDEN = -4e30  # stands in for the logit of a hidden key: finite, so that no difference of two such is NaN
VISIBLE_ABOVE = -2e30
LEAST_VISIBLE = -1e30


def logits_of(call: Call, area: Area, keys: slice) -> Tensor:
    """The logits after bias and mask of the area's rows on some keys, ``(b, h, r, t)``."""
    inputs, rules = call.inputs, call.inputs.rules
    q = torch.unflatten(inputs.q[area.place].to(call.dtype), 1, (-1, call.groups))  # (b, hkv, groups, r, D)
    k = inputs.k[area.batch, area.kv_heads, None, keys].to(call.dtype)  # (b, hkv, 1, t, D)
    logits = (q @ k.mT).flatten(1, 2) * inputs.scale  # (b, h, r, t)
    if rules.softcap is not None:
        logits = textbook.cap(logits, rules.softcap)
    if rules.bias is not None:
        logits = logits + area.of(keys_of(rules.bias, keys))
    return textbook.hide(logits, call.seen.mask_tile(area, keys), rules.mask.value)


def keys_of(x: Tensor, keys: slice) -> Tensor:
    """These keys of a tensor that broadcasts to ``(B, Hq, Sq, Sk)``."""
    return x if x.shape[3] == 1 else x[..., keys]


def weights_of(logits: Tensor, reference: Tensor, total: Tensor) -> Tensor:
    """exp(logit − m) / T: the weights, from a row's reference logit m and its sum of exponentials T.

    Not exp(logit − lse): where the logits are large, lse = m + ln T has too few digits left for ln T. None is more than
    1, also where a logit was rounded otherwise than when m was formed.
    """
    return (torch.exp(logits - reference) / total).clamp(max=1.0)
