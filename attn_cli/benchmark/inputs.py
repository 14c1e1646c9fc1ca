"""The tensors of a case, drawn from a seed."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from attn_cli.attention.masks import MaskRule, aligned_places
from attn_cli.attention.types import AttentionInputs, CallIndex, Rules
from attn_cli.benchmark.types import BenchCase

SEED = 0
DTYPES = {
    "float64": torch.float64,
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
DRAWN_ON_CPU = 2**26


@dataclass(frozen=True)
class Drawn:
    """What every contender gets.

    Attributes:
        case: what it was drawn for.
        inputs: Q, K and V; they require gradients where the backward pass is timed.
        gradient: of the output, ``(B, Hq, Sq, D)``, where the backward pass is timed, else None.
    """

    case: BenchCase
    inputs: AttentionInputs
    gradient: Tensor | None

    @property
    def leaves(self) -> tuple[Tensor, Tensor, Tensor]:
        """Q, K and V."""
        return self.inputs.q, self.inputs.k, self.inputs.v


def draw(case: BenchCase, device: torch.device) -> Drawn:
    """Q, K and V from a normal distribution, and the gradient of the output where the backward pass is timed.

    The same numbers on every machine: they are drawn on the CPU, but for cases of more than 2²⁶ numbers on another
    device, which draws them itself.
    """
    q_shape = (case.batch, case.heads, case.queries, case.head_dim)
    kv_shape = (case.batch, case.kv_heads, case.keys, case.head_dim)
    numbers = sum(torch.Size(shape).numel() for shape in (q_shape, kv_shape, kv_shape))
    at = device if numbers > DRAWN_ON_CPU else torch.device("cpu")
    generator = torch.Generator(at).manual_seed(SEED)
    backward = case.mode == "backward"

    def normal(shape: tuple[int, ...]) -> Tensor:
        return torch.randn(shape, generator=generator, device=at).to(device, DTYPES[case.dtype])

    q, k, v = (normal(shape).requires_grad_(backward) for shape in (q_shape, kv_shape, kv_shape))
    places = aligned_places(case.queries, case.keys).to(device)
    rules = Rules(MaskRule(case.keys, places, causal=case.causal))
    inputs = AttentionInputs(q, k, v, rules, CallIndex.whole(case.batch, case.heads, case.queries))
    return Drawn(case, inputs, normal(q_shape) if backward else None)


def itemsize(case: BenchCase) -> int:
    """Bytes of one number of the case's dtype."""
    return DTYPES[case.dtype].itemsize


def input_bytes(case: BenchCase) -> int:
    """Bytes of Q, K and V, and of the output's gradient where the backward pass is timed."""
    q = case.batch * case.heads * case.queries * case.head_dim
    kv = 2 * case.batch * case.kv_heads * case.keys * case.head_dim
    return itemsize(case) * (kv + (2 * q if case.mode == "backward" else q))


def output_bytes(case: BenchCase) -> int:
    """Bytes of the output, and of the gradients of Q, K and V where the backward pass is timed."""
    q = case.batch * case.heads * case.queries * case.head_dim
    kv = 2 * case.batch * case.kv_heads * case.keys * case.head_dim
    return itemsize(case) * (2 * q + kv if case.mode == "backward" else q)
