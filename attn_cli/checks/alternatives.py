"""Other readings of a call that are in use: what a recorded result may have been computed with."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from attn_cli.attention.masks import MaskRule, aligned_places
from attn_cli.attention.types import AttentionInputs
from attn_cli.checks.exact import exact_pieces
from attn_cli.checks.pieces import Piece
from attn_cli.checks.readings import InvertedMask

FINITE_CONSTANT = -1e6  # d2l's masked_softmax


@dataclass(frozen=True)
class Reading:
    """One other way to read a call.

    Attributes:
        name: what it is, to follow "what … gives".
        hint: how to ask for it, or what to look for.
        inputs: the call read so.
    """

    name: str
    hint: str
    inputs: AttentionInputs


def other_readings(inputs: AttentionInputs, inverted: Iterable[InvertedMask]) -> Iterator[Reading]:
    """The readings that differ from this one in a single decision, the more frequent mistakes first.

    Args:
        inputs: the call as it was read.
        inverted: its masks read the other way round.
    """
    yield from _of_order(inputs)
    yield from _of_mask(inputs, inverted)
    yield from _of_numbers(inputs)
    yield from _of_heads(inputs)


def first_that_fits(
    readings: Iterator[Reading], rows: Sequence[int], fits: Callable[[Piece], bool | None]
) -> Reading | None:
    """The first reading that reproduces what was recorded, or None.

    Args:
        readings: to try.
        rows: the query rows to compare.
        fits: whether a piece of the reading, in float64, does; None where the piece has nothing to compare.
    """
    return next((reading for reading in readings if _reproduces(reading, rows, fits)), None)


def _reproduces(reading: Reading, rows: Sequence[int], fits: Callable[[Piece], bool | None]) -> bool:
    compared = False
    for piece in exact_pieces(reading.inputs, rows):
        verdict = fits(piece)
        if verdict is False:
            return False
        compared = compared or verdict is True
    return compared


def _with_mask(inputs: AttentionInputs, mask: MaskRule) -> AttentionInputs:
    return replace(inputs, rules=replace(inputs.rules, mask=mask))


def _of_order(inputs: AttentionInputs) -> Iterator[Reading]:
    """Causal order on or off, and where it is aligned."""
    mask, queries, keys = inputs.rules.mask, inputs.index.total_queries, inputs.k.shape[2]
    for align in ("top-left", "bottom-right") if queries != keys else ("top-left",):
        places = aligned_places(queries, keys, align)[inputs.index.queries].to(mask.places.device)
        is_same = torch.equal(places, mask.places)
        named = f" aligned {align}" if queries != keys else ""
        option = f" --causal-align {align}" if queries != keys else ""
        if not mask.causal:
            moved = _with_mask(inputs, replace(mask, causal=True, places=places))
            yield Reading(f"causal order{named}", f"Read it with --causal{option}.", moved)
        elif not is_same:
            moved = _with_mask(inputs, replace(mask, places=places))
            yield Reading(f"causal order{named}", f"Read it with{option}.", moved)
    if mask.causal:
        yield Reading("no causal order", "Read it with --no-causal.", _with_mask(inputs, replace(mask, causal=False)))


def _of_mask(inputs: AttentionInputs, inverted: Iterable[InvertedMask]) -> Iterator[Reading]:
    """The keep mask the other way round, and masks and biases left out."""
    rules, mask = inputs.rules, inputs.rules.mask
    if mask.keep is not None:
        for one in inverted:
            other = _with_mask(inputs, replace(mask, keep=one.keep))
            yield Reading(f"{one.name} read the other way round", one.hint, other)
        hint = "See whether the mask reached the attention call."
        yield Reading("no mask", hint, _with_mask(inputs, replace(mask, keep=None)))
    if mask.valid_lens is not None:
        hint = "See whether the valid lengths reached the attention call."
        yield Reading("no valid lengths", hint, _with_mask(inputs, replace(mask, valid_lens=None)))
    if mask.window is not None:
        yield Reading("no window", "Read it without --window.", _with_mask(inputs, replace(mask, window=None)))
    if rules.bias is not None:
        hint = "See whether the bias reached the attention call."
        yield Reading("no bias", hint, replace(inputs, rules=replace(rules, bias=None)))
    if mask.hides_anything:
        bare = MaskRule(mask.num_keys, mask.places)
        yield Reading("nothing hidden", "See whether any mask reached the attention call.", _with_mask(inputs, bare))
    if mask.value is None and bool((mask.visible_keys() == 0).any()):
        finite = _with_mask(inputs, replace(mask, value=FINITE_CONSTANT))
        yield Reading("a finite mask constant", f"Read it with --mask-value {FINITE_CONSTANT:g}.", finite)


def _of_numbers(inputs: AttentionInputs) -> Iterator[Reading]:
    """Another scale, no softcap, no sinks."""
    rules, dim = inputs.rules, inputs.q.shape[3]
    for scale, name in ((1.0, "no scale"), (dim**-0.5, "the scale 1/√D"), (1 / dim, "the scale 1/D, 1/√D twice")):
        if not math.isclose(scale, inputs.scale, rel_tol=1e-3):
            scaled = replace(inputs, rules=replace(rules, scale=scale))
            yield Reading(name, f"Read it with --scale {scale:.6g} if that is meant.", scaled)
    if rules.softcap is not None:
        yield Reading("no softcap", "Read it without --softcap.", replace(inputs, rules=replace(rules, softcap=None)))
    if rules.sinks is not None:
        hint = "See whether the sinks reached the attention call."
        yield Reading("no sinks", hint, replace(inputs, rules=replace(rules, sinks=None)))


def _of_heads(inputs: AttentionInputs) -> Iterator[Reading]:
    """Grouped queries that read key/value head h mod Hkv, as a repeat instead of a repeat_interleave does it."""
    heads, kv_heads = inputs.q.shape[1], inputs.k.shape[1]
    if 1 < kv_heads < heads and inputs.index.has_every_head:
        k, v = (_repeated(x, heads) for x in (inputs.k, inputs.v))
        hint = "Repeat every key/value head in place (repeat_interleave), not all of them one after another (repeat)."
        yield Reading("query head h reading key/value head h mod Hkv", hint, replace(inputs, k=k, v=v))


def _repeated(x: Tensor, heads: int) -> Tensor:
    """``(B, Hkv, S, D)`` to ``(B, Hq, S, D)``, the heads one after another, again and again."""
    return x.repeat(1, heads // x.shape[1], 1, 1)
