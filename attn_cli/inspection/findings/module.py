"""ATTN001 of a call that was projected here: what broke Q, K or V, found where it arose."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from attn_cli.attention.types import CallIndex, ModuleInputs
from attn_cli.inspection.findings.broken import INPUT_HINT
from attn_cli.inspection.findings.inputs import first_place, is_finite, what_is_bad, widened
from attn_cli.inspection.findings.rules import NONFINITE_INPUT, counted
from attn_cli.inspection.types import Finding, Place


def module_findings(
    module: ModuleInputs, index: CallIndex, firsts: tuple[int, int, int] | None = None
) -> tuple[Finding, ...]:
    """One finding for every tensor that was projected, or projected with, and is not finite.

    Args:
        module: the whole call, or one head of it.
        index: the batch items that were inspected; what is in others does not count.
        firsts: of one head, the output features of the whole projections that its W_q, W_k and W_v begin with.
    """
    named = (("queries", module.queries), ("keys", module.keys), ("values", module.values))
    rows = [_Rows(name, widened(x)) for name, x in _different(named)]
    found = [one.finding(index.batch) for one in rows]
    return tuple(one for one in (*found, *_in_weights(module, firsts)) if one is not None)


def _different(named: Sequence[tuple[str, Tensor]]) -> Iterator[tuple[str, Tensor]]:
    """Each tensor once: hidden states are the queries, the keys and the values."""
    seen: list[Tensor] = []
    for name, x in named:
        if not any(_is_same(x, other) for other in seen):
            seen.append(x)
            yield name, x


def _is_same(x: Tensor, other: Tensor) -> bool:
    """Whether all bits are: a NaN equals no NaN."""
    bits = (one.contiguous().view(torch.uint8) for one in (x, other))
    return x.shape == other.shape and torch.equal(*bits)


@dataclass(frozen=True)
class _Rows:
    """What goes into the module under a name, ``(B, S, features)``."""

    name: str
    x: Tensor

    def finding(self, batch: Sequence[int]) -> Finding | None:
        if is_finite(self.x):
            return None
        faults = ~self.x[list(batch)].isfinite()
        if not bool(faults.any()):
            return None
        item, row, feature = first_place(faults)
        place = Place(tensor=self.name, batch=batch[item], feature=feature)
        place = replace(place, query=row) if self.name == "queries" else replace(place, key=row)
        number = int(faults.any(dim=-1).sum())
        axis = "query row" if self.name == "queries" else "key"
        message = f"{self.name}, before the projection, hold {what_is_bad(self.x[list(batch)], faults)}"
        return NONFINITE_INPUT.finding(f"{message} in {counted(number, axis)}", place, number, INPUT_HINT)


def _in_weights(module: ModuleInputs, firsts: tuple[int, int, int] | None) -> Iterator[Finding]:
    layers, where = (module.W_q, module.W_k, module.W_v), "" if firsts is None else " for this head"
    for name, layer, first in zip(("W_q", "W_k", "W_v"), layers, firsts or (0, 0, 0), strict=True):
        for part, x in (("weight", layer.weight), ("bias", layer.bias)):
            x = None if x is None else widened(x)
            if x is None or is_finite(x):
                continue
            faults = ~x.isfinite()
            outputs = faults.flatten(1).any(dim=-1) if x.dim() > 1 else faults
            message = f"the {part} of {name} holds {what_is_bad(x, faults)}{where}, the first of output feature"
            place, number = Place(tensor=f"{name}.{part}"), int(faults.sum())
            yield NONFINITE_INPUT.finding(f"{message} {first + first_place(outputs)[0]}", place, number, INPUT_HINT)
