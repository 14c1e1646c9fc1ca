"""What is known of every query row once all its keys have been read: what the metrics are made of."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cached_property

import torch
from torch import Tensor

from attn_cli.inspection.areas import Area, picked
from attn_cli.inspection.call import Call
from attn_cli.inspection.logits import weights_of

FIRST_KEYS = 4
OFFSETS = (-1, 0, 1)


@dataclass(frozen=True)
class RowValues:
    """One number for every query row of a part, ``(b, h, r)`` each; the threads fill them in.

    Attributes:
        lse: log-sum-exp of the logits, without the sink.
        reference, total: m and T = Σ exp(logit − m), the sink among the logits: a weight is exp(logit − m) / T. In a
            row without any visible key T is 1.
        entropy: −Σⱼ Aᵢⱼ ln Aᵢⱼ, nats.
        peak: the largest weight.
        max_logit: the largest logit of a visible key, after scale and softcap, before the bias.
        distance: Σⱼ Aᵢⱼ·abs(pᵢ − j).
        output_norm: ‖A·V‖.
        faulty: bool, True where the output is not finite.
        projected_norm: ‖W_O,h·A·V‖ where W_O is known.
        duplicate, induction: summed weight on keys that hold the query's token, and on the keys after those, both
            before the query's place; where the tokens are known.
        near: the weights on the keys at pᵢ + OFFSETS, ``(b, h, r, 3)``; any number where there is none.
        first: the weights on the first four keys, or as many as there are, ``(b, h, r, ≤ 4)``.
    """

    lse: Tensor
    reference: Tensor
    total: Tensor
    entropy: Tensor
    peak: Tensor
    max_logit: Tensor
    distance: Tensor
    output_norm: Tensor
    faulty: Tensor
    near: Tensor
    first: Tensor
    projected_norm: Tensor | None
    duplicate: Tensor | None
    induction: Tensor | None

    @classmethod
    def empty(cls, call: Call, part: Area) -> RowValues:
        """Room for the rows of ``part``."""

        def room(*size: int, dtype: torch.dtype = call.dtype) -> Tensor:
            return torch.empty(*part.shape, *size, dtype=dtype, device=call.device)

        return cls(
            lse=room(),
            reference=room(),
            total=room(),
            entropy=room(),
            peak=room(),
            max_logit=room(),
            distance=room(),
            output_norm=room(),
            faulty=room(dtype=torch.bool),
            near=room(len(OFFSETS)),
            first=room(min(FIRST_KEYS, call.seen.mask.num_keys)),
            projected_norm=None if call.projections is None else room(),
            duplicate=None if call.tokens is None else room(),
            induction=None if call.tokens is None else room(),
        )

    def within(self, part: Area, area: Area) -> RowValues:
        """The values of ``area``, a piece of ``part``; they share memory."""
        place = tuple(
            slice(inner.start - outer.start, inner.stop - outer.start)
            for inner, outer in zip(area.place, part.place, strict=True)
        )
        return self.picked(place)

    def picked(self, place: tuple[slice, ...]) -> RowValues:
        """A part of the values; they share memory."""
        mine = {one.name: getattr(self, one.name) for one in fields(self)}
        return replace(self, **{name: x[place] for name, x in mine.items() if x is not None})


@dataclass(frozen=True)
class Rows:
    """The query rows of a part of the call, as metrics read them.

    Attributes:
        call: the call they belong to.
        part: which rows of which batch items and heads.
        values: what was measured on them.
    """

    call: Call
    part: Area
    values: RowValues

    @cached_property
    def places(self) -> Tensor:
        """The aligned place pᵢ of each query, ``(r,)`` int64."""
        return self.call.seen.mask.places[self.part.rows]

    @cached_property
    def visible(self) -> Tensor:
        """How many keys each query row may attend to, ``(b or 1, h or 1, r)`` int64."""
        return self.part.of(self.call.seen.counts)

    @cached_property
    def faulty(self) -> Tensor:
        """True where a row's visible logits cannot give weights, or its output is not finite, ``(b, h, r)``.

        Where all visible logits are −∞ the weights are a quiet 0; the lse tells.
        """
        return self.values.faulty | ((self.values.lse == -torch.inf) & self.has_visible)

    @cached_property
    def has_visible(self) -> Tensor:
        """True where a query row has a visible key, ``(b or 1, h or 1, r)``."""
        return self.visible > 0

    @cached_property
    def uniform(self) -> Tensor:
        """What uniform attention gives each visible key: 1/nᵢ, 1 where there is none; shaped as ``visible``."""
        return self.visible.clamp(min=1).to(self.call.dtype).reciprocal()

    @cached_property
    def uniform_distance(self) -> Tensor:
        """The mean of abs(pᵢ − j) over the visible keys, shaped as ``visible``."""
        return self.part.of(self.call.seen.distances).to(self.call.dtype) * self.uniform

    @cached_property
    def sink(self) -> Tensor:
        """The learned sink's weight, ``(b, h, r)``."""
        return sink_weight(self.call, self.part, self.values.reference, self.values.total)

    def sees(self, keys: Tensor) -> Tensor:
        """True where a row's key of ``keys`` ``(r,)`` exists and is visible, ``(b or 1, h or 1, r)``."""
        return picked(self.call.seen.at(keys[:, None], self.part.rows), self.part.place[:2]).squeeze(-1)

    def exists(self, keys: Tensor) -> Tensor:
        """True where a row has a visible key and its key of ``keys`` ``(r,)`` lies in the call."""
        return self.has_visible & (keys >= 0) & (keys < self.call.seen.mask.num_keys)

    def weight_at(self, offset: int) -> Tensor:
        """Each row's weight on the key at pᵢ + ``offset``, one of OFFSETS, ``(b, h, r)``; any outside the call."""
        return self.values.near[..., OFFSETS.index(offset)]

    @property
    def first_keys(self) -> Tensor:
        """The weights on the first four keys, or on as many as there are: ``(b, h, r, ≤ 4)``."""
        return self.values.first


def sink_weight(call: Call, area: Area, reference: Tensor, total: Tensor) -> Tensor:
    """The learned sink's weight, ``(b, h, r)``."""
    assert call.inputs.rules.sinks is not None  # asked for only where there are sinks
    return weights_of(call.inputs.rules.sinks[area.heads, None], reference, total)
