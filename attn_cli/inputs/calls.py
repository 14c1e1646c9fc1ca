"""Which attention calls a file holds, found by name alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from attn_cli.inputs.names import (
    ALIASES,
    BIAS,
    CONSTRAINTS,
    HEADS,
    HIDDEN,
    MODULE,
    OUTPUT,
    SINKS,
    TOKEN_IDS,
    VALID_LENS,
    WEIGHTS,
    is_behind,
    join,
    layer_of,
    role_of,
    split_name,
    with_parents,
)
from attn_cli.inputs.projections import Projections

Triple = tuple[str, str, str]
ByPrefix = Mapping[str, Mapping[str, tuple[str, ...]]]


@dataclass(frozen=True)
class CallNames:
    """The tensors of one attention call, by name.

    Attributes:
        prefix: what stands before the call's own tensors.
        layer: its number.
        triple: q, k and v where ``is_projected``, else queries, keys and values (one name thrice for hidden states).
        is_projected: True where the triple is heads already.
        spare: hidden states or module inputs that stand beside projected heads and are not used.
        valid_lens, sinks, token_ids: by name, or None.
        output, weights: what was recorded of the call's results, by name, or None.
        constraints: masks and biases, all of which apply.
    """

    prefix: str
    layer: int | None
    triple: Triple
    is_projected: bool
    spare: tuple[str, ...] = ()
    valid_lens: str | None = None
    sinks: str | None = None
    token_ids: str | None = None
    output: str | None = None
    weights: str | None = None
    constraints: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Every tensor's name, each once."""
        single = (self.valid_lens, self.sinks, self.token_ids, self.output, self.weights)
        return tuple(dict.fromkeys((*self.triple, *(name for name in single if name), *self.constraints)))


@dataclass(frozen=True)
class Incomplete:
    """A prefix with some but not all of a call, or with more than one reading."""

    prefix: str
    reason: str

    @property
    def layer(self) -> int | None:
        """The layer's number."""
        return layer_of(self.prefix)


@dataclass(frozen=True)
class FoundCalls:
    """The calls of a file, and the prefixes that nearly are."""

    calls: tuple[CallNames, ...]
    incomplete: tuple[Incomplete, ...]


def find_calls(names: Sequence[str], projections: Sequence[Projections]) -> FoundCalls:
    """Every call in a file.

    Args:
        names: of all its tensors.
        projections: found in the same file. Hidden states that serve several layers' weights are a call for each.
    """
    by_prefix = _by_prefix(names)
    read = [_read_prefix(prefix, roles) for prefix, roles in by_prefix.items()]
    whole = [found for found in read if isinstance(found, CallNames)]
    owned = _owned(projections, frozenset(call.prefix for call in whole))
    calls = [
        _with_shared(served, by_prefix)
        for call in whole
        for served in ([call] if call.is_projected else _serving(call, owned.get(call.prefix, [])))
    ]
    return FoundCalls(tuple(calls), tuple(found for found in read if isinstance(found, Incomplete)))


def call_of(names: Sequence[str], triple: Triple) -> CallNames:
    """The call of three named tensors, with the masks and lengths that go with where they stand."""
    prefix = common_prefix([split_name(name)[0] for name in triple])
    named = CallNames(prefix, layer_of(prefix), triple, is_projected=True)
    found = _with_shared(named, _by_prefix(names))
    return replace(found, constraints=tuple(name for name in found.constraints if name not in triple))


def _by_prefix(names: Iterable[str]) -> ByPrefix:
    """Names by prefix and role; GPT-2's ``bias`` beside ``c_attn`` is its causal buffer and no bias."""
    found: dict[str, dict[str, tuple[str, ...]]] = {}
    lower = {name.lower() for name in names}
    for name in names:
        prefix, leaf = split_name(name)
        role = role_of(leaf)
        is_buffer = role == BIAS and join(prefix, "c_attn.weight").lower() in lower
        if role is not None and not is_buffer:
            roles = found.setdefault(prefix, {})
            roles[role] = (*roles.get(role, ()), name)
    return found


def _read_prefix(prefix: str, roles: Mapping[str, tuple[str, ...]]) -> CallNames | Incomplete | None:
    """What stands behind one prefix; projected heads win over what would have to be projected."""
    heads, module = _triple(roles, HEADS), _triple(roles, MODULE)
    hidden = _preferred(roles, HIDDEN)
    if module is None and hidden is not None:
        module = (hidden, hidden, hidden)
    twice = [role for role in HEADS if len(roles.get(role, ())) > 1]
    if twice:
        return Incomplete(prefix, f"both {' and '.join(roles[twice[0]])} could be {twice[0]}")
    if heads is not None:
        return CallNames(
            prefix, layer_of(prefix), heads, True, spare=() if module is None else tuple(dict.fromkeys(module))
        )
    if module is not None:
        return CallNames(prefix, layer_of(prefix), module, False)
    for wanted in (HEADS, MODULE):
        has = [role for role in wanted if role in roles]
        if has:
            lacks = [role for role in wanted if role not in roles]
            return Incomplete(prefix, f"{' and '.join(has)} without {' and '.join(lacks)}")
    return None


def _triple(roles: Mapping[str, tuple[str, ...]], wanted: Triple) -> Triple | None:
    first, second, third = (_preferred(roles, role) for role in wanted)
    return None if first is None or second is None or third is None else (first, second, third)


def _preferred(roles: Mapping[str, tuple[str, ...]], role: str) -> str | None:
    """The name whose alias comes first."""
    order, names = ALIASES[role], roles.get(role, ())
    if len(names) < 2:
        return names[0] if names else None
    return min(names, key=lambda name: order.index(split_name(name)[1].lower()))


def _owned(projections: Sequence[Projections], holders: frozenset[str]) -> Mapping[str, list[Projections]]:
    """By a call's prefix the weights behind it that no other call deeper down lays claim to."""
    owned: dict[str, list[Projections]] = {}
    for layers in projections:
        owner = next((p for p in with_parents(layers.root) if p in holders), None)
        if layers.has_inputs and owner is not None:
            owned.setdefault(owner, []).append(layers)
    return owned


def _serving(call: CallNames, projections: Sequence[Projections]) -> list[CallNames]:
    """One call, or a call for each layer where the same hidden states serve the weights of several."""
    layers = [found.layer for found in projections]
    is_whole_model = len(layers) > 1 and None not in layers and len(set(layers)) == len(layers)
    if is_whole_model or (len(layers) == 1 and not call.prefix):
        return [replace(call, prefix=found.root, layer=found.layer) for found in projections]
    return [call]


def _with_shared(call: CallNames, by_prefix: ByPrefix) -> CallNames:
    """The call with its lengths, masks, biases, sinks and token ids: its own, else those it stands in."""
    around = [by_prefix[prefix] for prefix in with_parents(call.prefix) if prefix in by_prefix]

    def nearest(role: str) -> tuple[str, ...]:
        return next((roles[role] for roles in around if role in roles), ())

    def one(role: str) -> str | None:
        return _preferred({role: nearest(role)}, role)

    return replace(
        call,
        spare=call.spare or (nearest(HIDDEN) if call.is_projected else ()),
        valid_lens=one(VALID_LENS),
        sinks=one(SINKS),
        token_ids=one(TOKEN_IDS),
        output=_preferred(by_prefix.get(call.prefix, {}), OUTPUT),
        weights=_preferred(by_prefix.get(call.prefix, {}), WEIGHTS),
        constraints=tuple(name for role in CONSTRAINTS for name in nearest(role)),
    )


def common_prefix(prefixes: Sequence[str]) -> str:
    """What all of these prefixes stand behind; empty where they share nothing."""
    return next(parent for parent in with_parents(prefixes[0]) if all(is_behind(p, parent) for p in prefixes))
