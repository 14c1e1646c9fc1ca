"""Which tensors of two matched calls are the same thing under two names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from attn_cli.inputs.calls import CallNames
from attn_cli.inputs.loading import CallPlan
from attn_cli.inputs.names import CONSTRAINTS, role_of, split_name

SINGLE = ("valid_lens", "sinks", "token_ids", "output", "weights")
LAYERS = ("q", "k", "v", "fused", "o")
Pair = tuple[CallPlan, CallPlan]


@dataclass(frozen=True)
class Counterparts:
    """What stands for what in calls that are compared.

    Attributes:
        pairs: names in the left and in the right file, which may be the same.
        left, right: names that a call is made of where the other side is made of something else, such as projected
            heads against hidden states: their calls are compared, not they.
    """

    pairs: tuple[tuple[str, str], ...]
    left: frozenset[str]
    right: frozenset[str]


def counterparts(calls: Sequence[Pair]) -> Counterparts:
    """The tensors of matched calls, by what they were taken for."""
    pairs: dict[tuple[str, str], None] = {}
    others: tuple[set[str], set[str]] = (set(), set())
    for plans in calls:
        left, right = (plan.call for plan in plans)
        pairs.update(dict.fromkeys(_of_rules(left, right)))
        if left.is_projected == right.is_projected:
            pairs.update(dict.fromkeys(zip(left.triple, right.triple, strict=True)))
        layers = list(_of_projections(*plans))
        pairs.update(dict.fromkeys(layers))
        for side, (plan, other) in enumerate((plans, plans[::-1])):
            if left.is_projected != right.is_projected:
                others[side].update(plan.call.triple)
            if not layers and (other.projections is not None or plan.call.is_projected != other.call.is_projected):
                others[side].update(() if plan.projections is None else plan.projections.names)
    return Counterparts(tuple(pairs), frozenset(others[0]), frozenset(others[1]))


def _of_rules(left: CallNames, right: CallNames) -> Iterator[tuple[str, str]]:
    """Lengths, sinks, tokens, what was recorded; masks and biases where both sides have as many of a kind."""
    for role in SINGLE:
        one, other = getattr(left, role), getattr(right, role)
        if one is not None and other is not None:
            yield one, other
    for role in CONSTRAINTS:
        kinds = [[name for name in call.constraints if role_of(split_name(name)[1]) == role] for call in (left, right)]
        if len(kinds[0]) == len(kinds[1]):
            yield from zip(*kinds, strict=True)


def _of_projections(left: CallPlan, right: CallPlan) -> Iterator[tuple[str, str]]:
    """Layer by layer, where both sides have the same layers."""
    if left.projections is None or right.projections is None:
        return
    found = []
    for name in LAYERS:
        layers = getattr(left.projections, name), getattr(right.projections, name)
        names = [() if layer is None else layer.names for layer in layers]
        if len(names[0]) != len(names[1]):
            return
        found += list(zip(*names, strict=True))
    if left.projections.is_transposed == right.projections.is_transposed:
        yield from found
