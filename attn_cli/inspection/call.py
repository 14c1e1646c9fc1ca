"""One attention call, made ready to be measured tile by tile."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from attn_cli.attention.blocks import row_blocks
from attn_cli.attention.types import AttentionInputs, LinearWeights, accumulation_dtype
from attn_cli.inspection.seen import Seen

LARGEST_LOGIT = 1e25
LARGEST_IN_FLOAT32 = 256.0  # beyond, a rounding of a logit is more than 1e-5 of its weight
LONGEST_VALUE = 1e10
VALUES_AT_ONCE = 2**22
TILE_DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


@dataclass(frozen=True)
class Call:
    """One attention call, made ready to be walked in tiles of query rows × keys.

    Attributes:
        inputs: Q, K and V stay where and as they are, one key/value head for its whole group of query heads; a tile
            of them is converted when it is read.
        dtype: the accumulation dtype; bias, sinks and output projection are in it. On the CPU it is float64 where the
            logits may be too large for float32, so that a logit formed a second time gives the same weight.
        seen: who may attend to whom. A key whose bias is −∞ is hidden here too, since it can never get a weight.
        projections: ``(Hq, min(E, Dv), Dv)``: maps a head's output to a vector as long as its part of the output
            projection, or None where W_O is not known.
        tokens: ``(B, Sk)`` int32, equal where the token ids are, or None where they are not known.
        largest_logits: no logit's size before the softcap can be more, ``(B, Hkv)`` (Cauchy and Schwarz).
        sound: bool, ``(B, Hkv)``: True where the head's numbers, and those of its query heads, are finite and far from
            overflowing.
    """

    inputs: AttentionInputs
    dtype: torch.dtype
    seen: Seen
    projections: Tensor | None
    tokens: Tensor | None
    largest_logits: Tensor
    sound: Tensor

    @classmethod
    def prepare(cls, inputs: AttentionInputs) -> Call:
        """Make ``inputs`` ready; they stay on their device."""
        dtype = accumulation_dtype(inputs.q.dtype)
        if inputs.q.dtype not in TILE_DTYPES:
            inputs = inputs.to(inputs.q.device, dtype)
        q, k, v = (_longest(x, dtype) for x in (inputs.q, inputs.k, inputs.v))
        of_group = q.view(len(q), k.shape[1], -1).amax(dim=-1)  # (B, Hkv)
        largest = of_group * k * abs(inputs.scale)
        sound = _is_sound(inputs, of_group * k, v)
        if inputs.q.device.type == "cpu" and bool(sound.all()) and _are_large(inputs, largest):
            dtype = torch.float64
        inputs = replace(inputs, rules=inputs.rules.to(inputs.q.device, dtype))
        projection, tokens = inputs.output_projection, inputs.token_ids
        maps = None if projection is None else _head_projections(projection, inputs.index.heads, inputs.v, dtype)
        numbers = None if tokens is None else torch.unique(tokens, return_inverse=True)[1].to(torch.int32)
        return cls(inputs, dtype, Seen.of(inputs), maps, numbers, largest, sound)

    @property
    def groups(self) -> int:
        """How many query heads read one key/value head."""
        return self.inputs.q.shape[1] // self.inputs.k.shape[1]

    @property
    def device(self) -> torch.device:
        """Where Q, K and V are."""
        return self.inputs.q.device

    @property
    def home(self) -> torch.device:
        """Where float64 sums are kept: the device of the inputs, or the CPU where that device has no float64."""
        return torch.device("cpu") if self.device.type == "mps" else self.device


def _longest(x: Tensor, dtype: torch.dtype) -> Tensor:
    """The largest norm of a row, ``(B, H, S, D)`` to ``(B, H)``; NaN or infinite where a number is."""
    longest = torch.zeros(x.shape[:2], dtype=dtype, device=x.device)
    for rows in row_blocks(x.shape[2], x.shape[0] * x.shape[1] * x.shape[3], VALUES_AT_ONCE):
        norm = torch.linalg.vector_norm(x[:, :, rows], dim=-1, dtype=dtype)  # (B, H, r)
        longest = torch.maximum(longest, norm.amax(dim=-1))
    return longest


def _are_large(inputs: AttentionInputs, largest: Tensor) -> bool:
    """Whether a logit may be too large for its weight to have a float32's digits.

    Beside a large bias it stays float32: what a bias of −1e9 leaves of the logits, there as in the kernel, is nothing.
    """
    rules, limit = inputs.rules, LARGEST_IN_FLOAT32
    if rules.bias is not None and bool(((rules.bias.abs() > limit) & rules.bias.isfinite()).any()):
        return False
    is_capped = rules.softcap is not None and abs(rules.softcap) <= limit
    return not is_capped and float(largest.amax()) > limit


def _is_sound(inputs: AttentionInputs, scores: Tensor, values: Tensor) -> Tensor:
    """Where no step of the online softmax can overflow, ``(B, Hkv)``; given the largest scores and norms of values."""
    rules, groups = inputs.rules, inputs.q.shape[1] // inputs.k.shape[1]
    sound: Tensor = (scores * max(abs(inputs.scale), 1.0) < LARGEST_LOGIT) & (values < LONGEST_VALUE)
    if rules.bias is not None and not float(rules.bias.amax()) < LARGEST_LOGIT:
        return torch.zeros_like(sound)
    if rules.sinks is not None:
        sound = sound & (rules.sinks < LARGEST_LOGIT).view(-1, groups).all(dim=-1)
    return sound


def _head_projections(layer: LinearWeights, heads: tuple[int, ...], v: Tensor, dtype: torch.dtype) -> Tensor:
    """For every head a small matrix R with ‖R·x‖ = ‖W_O,h·x‖, ``(Hq, min(E, Dv), Dv)``.

    W_O,h = Q·R with orthonormal columns in Q, so R alone keeps the length, at Dv instead of E numbers a row.
    """
    size = v.shape[-1]
    own = torch.stack([layer.weight[:, head * size : (head + 1) * size] for head in heads])  # (Hq, E, Dv)
    short: Tensor = torch.linalg.qr(own.to("cpu", torch.float64), mode="r").R  # (Hq, min(E, Dv), Dv)
    return short.to(v.device, dtype)
