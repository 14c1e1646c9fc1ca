"""Sound calls under every kind of mask, in which no rule has anything to find."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from attn_cli.attention.types import AttentionInputs
from attn_cli.inputs.types import LoadedCall, Recorded
from tests.checks.cases import case

SIZE = 24
LENGTHS = torch.tensor([24, 17, 9])
CAUSAL = torch.ones(SIZE, SIZE).tril().bool()[None, None]
RIGHT = (torch.arange(SIZE) < LENGTHS[:, None])[:, None, None]  # (B, 1, 1, Sk)
LEFT = RIGHT.flip(-1)


def additive(keep: Tensor, constant: float = -torch.inf, dtype: torch.dtype = torch.float32) -> Tensor:
    """A keep mask as it is added: 0 where it is True, the constant where it is False."""
    return torch.zeros(keep.shape, dtype=dtype).masked_fill(~keep, constant)


def big(queries: int = SIZE, keys: int = SIZE, **options: object) -> LoadedCall:
    """Three items of four heads."""
    return case(3, 4, queries, keys, **options)  # type: ignore[arg-type]


def eager(dtype: torch.dtype, constant: float, softcap: float | None = None, queries: int = SIZE) -> LoadedCall:
    """A causal call padded on the left, with the output and the weights of Hugging Face's eager attention.

    The constant is added in the dtype of the call, and with it the first rows of padded items see hidden keys alone.
    """
    call = big(queries, dtype=dtype, softcap=softcap, bias=additive((CAUSAL & LEFT)[:, :, -queries:], constant, dtype))
    inputs = call.inputs
    assert isinstance(inputs, AttentionInputs)
    logits = inputs.q @ inputs.k.mT * inputs.q.shape[-1] ** -0.5
    if softcap is not None:
        logits = torch.tanh(logits / softcap) * softcap
    weights = (logits + inputs.rules.bias).softmax(-1, dtype=torch.float32).to(dtype)
    return replace(call, recorded=Recorded(weights @ inputs.v, weights))


def right_padded_tokens() -> Tensor:
    """Token ids ``(B, Sk)``, different ones, and 0 behind each item's length."""
    ids = torch.arange(1, 3 * SIZE + 1).view(3, SIZE)
    return torch.where(RIGHT[:, 0, 0], ids, 0)


LOWEST = torch.finfo(torch.float32).min
HEALTHY: dict[str, Callable[[], LoadedCall]] = {
    "plain": big,
    "bfloat16": lambda: big(dtype=torch.bfloat16),
    "float16": lambda: big(dtype=torch.float16),
    "grouped queries": lambda: big(kv_heads=2),
    "valid lengths": lambda: big(valid_lens=LENGTHS),
    "causal": lambda: big(causal=True),
    "causal with a cache": lambda: big(queries=7, causal=True),
    "causal, one query": lambda: big(queries=1, causal=True),
    "window": lambda: big(window=(3, 3)),
    "causal window": lambda: big(window=(3, 0), causal=True),
    "keep mask of padding on the right": lambda: big(keep=RIGHT),
    "keep mask of padding on the left": lambda: big(keep=LEFT),
    "causal keep mask": lambda: big(keep=CAUSAL),
    "causal keep mask with a cache": lambda: big(queries=7, keep=CAUSAL[:, :, -7:]),
    "causal keep mask from the first": lambda: big(queries=7, keep=CAUSAL[:, :, :7]),
    "causal keep mask and padding on the right": lambda: big(keep=CAUSAL & RIGHT),
    "keep mask of heads": lambda: case(4, 4, SIZE, SIZE, keep=_windows_of_heads()),
    "additive mask of -inf": lambda: big(bias=additive(CAUSAL)),
    "additive mask of -1e9": lambda: big(bias=additive(CAUSAL & RIGHT, -1e9)),
    "additive mask of the lowest number": lambda: big(bias=additive(RIGHT, LOWEST)),
    "additive mask of float16": lambda: big(bias=additive(RIGHT, -1e4, torch.float16), dtype=torch.float16),
    "additive mask of -100": lambda: big(bias=additive(RIGHT, -100.0)),
    "distances": lambda: big(bias=_distances(), causal=True),
    "token ids": lambda: big(token_ids=right_padded_tokens(), valid_lens=LENGTHS),
    "token ids, causal": lambda: big(token_ids=right_padded_tokens(), causal=True),
    "sinks": lambda: big(sinks=torch.tensor([0.5, -1.0, 2.0, 0.0]), causal=True),
    "softcap": lambda: big(softcap=30.0, causal=True),
    "mask value": lambda: big(value=-3e4, valid_lens=LENGTHS),
    "prefix": lambda: big(keep=_prefix(6)),
    "images": lambda: big(keep=_images()),
    "packed texts": lambda: big(keep=_packed()),
}


def _windows_of_heads() -> Tensor:
    """Each head looks back another number of keys."""
    places = torch.arange(SIZE)
    back = places[:, None] - places
    return ((back >= 0) & (back <= torch.tensor([2, 4, 8, 30])[:, None, None]))[None]


def _distances() -> Tensor:
    """ALiBi."""
    places = torch.arange(SIZE)
    slopes = torch.tensor([0.5, 0.25, 0.125, 0.0625])[:, None, None]
    return -(slopes * (places[:, None] - places).abs())[None]


def _prefix(size: int) -> Tensor:
    """The first keys are seen by all queries."""
    keep = CAUSAL.clone()
    keep[..., :size] = True
    return keep


def _images() -> Tensor:
    """Causal, with two blocks of queries that see each other."""
    keep = CAUSAL.clone()
    for first, behind in ((2, 8), (12, 16)):
        keep[..., first:behind, first:behind] = True
    return keep


def _packed() -> Tensor:
    """Three texts in one row, each of which sees itself alone, in both directions."""
    text = torch.tensor([0] * 10 + [1] * 6 + [2] * 8)
    return (text[:, None] == text)[None, None]
