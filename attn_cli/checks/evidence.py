"""What the rules look at: one call that was run and inspected, and what more they may ask of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from attn_cli.attention.selection import pick
from attn_cli.attention.types import AttentionInputs, CallIndex
from attn_cli.checks.cells import Cells
from attn_cli.checks.patterns import BIAS, Pattern, all_rules, chosen, count_seen, every_part
from attn_cli.checks.pieces import Piece
from attn_cli.checks.spread import Spread, spread_of
from attn_cli.inputs.types import LoadedCall
from attn_cli.inspection.types import Inspection
from attn_cli.pipeline import Examined, place

SAMPLED_ROWS = 256


@dataclass(frozen=True)
class Surroundings:
    """What the file says of a call's neighbours.

    Attributes:
        calls: how many calls the file has, this one among them.
        keys_stay: True where a recording has several calls of the same module and all have as many keys, as where a
            decoder attends to what its encoder gave; False where the keys grow, as in a cache, or there is one call.
    """

    calls: int = 1
    keys_stay: bool = False


ALONE = Surroundings()


@dataclass(frozen=True)
class Evidence:
    """One call that was run and inspected.

    Attributes:
        call: as it was loaded, whole.
        examined: what ran and what was seen, of the selection.
        surroundings: of the call in its file.
    """

    call: LoadedCall
    examined: Examined
    surroundings: Surroundings = ALONE

    @property
    def inputs(self) -> AttentionInputs:
        """The selected part of the call, on the device and in the dtype that the kernel ran in."""
        return self.examined.inputs

    @property
    def inspection(self) -> Inspection:
        """What every head did."""
        return self.examined.inspection

    @property
    def index(self) -> CallIndex:
        """Where the selection sits in the whole call."""
        return self.examined.inputs.index

    @cached_property
    def within(self) -> CallIndex:
        """Where the selection sits in the file's tensors, which hold fewer heads where a recording kept some alone."""
        inputs = self.call.inputs
        if not isinstance(inputs, AttentionInputs):
            return self.index
        place_of = {number: place for place, number in enumerate(inputs.index.heads)}
        heads = tuple(place_of[number] for number in self.index.heads)
        return replace(self.index, heads=heads, total_heads=len(place_of))

    def head_number(self, place: int) -> int:
        """The number, in the whole call, of a head of the file's tensors."""
        inputs = self.call.inputs
        return inputs.index.heads[place] if isinstance(inputs, AttentionInputs) else place

    @cached_property
    def parts(self) -> tuple[Pattern, ...]:
        """The whole call's masks and biases as the file has them, each by itself."""
        return every_part(self.call.inputs.rules, self.call.constraints)

    @cached_property
    def patterns(self) -> tuple[Pattern, ...]:
        """Those of them that hide keys."""
        return tuple(part for part in self.parts if part.hides)

    @property
    def bias_hides(self) -> bool:
        """True where a bias is there to hide keys, be it under a position bias."""
        return any(pattern.kind == BIAS for pattern in self.patterns)

    @cached_property
    def cells(self) -> Cells:
        """What each query row of the whole call sees under all rules together."""
        return all_rules(self.call.inputs.rules.mask, self.patterns)

    @cached_property
    def seen_keys(self) -> Tensor:
        """How many keys each query row of the selection sees under all rules together.

        Returns:
            ``(B or 1, Hq or 1, Sq)`` int64, on the CPU.
        """
        mask = self.call.inputs.rules.mask
        count = self.cells.visible.count if self.patterns else count_seen(mask, ())
        return chosen(count[..., None], self.within)[..., 0]

    @cached_property
    def spread(self) -> Spread:
        """How much the logits vary in the sampled rows."""
        return spread_of(self.inputs, self.sampled_rows)

    @cached_property
    def kept_pieces(self) -> dict[tuple[int, ...], tuple[Piece, ...]]:
        """What :func:`attn_cli.checks.exact.pieces_of` computed of a small call, by its query rows."""
        return {}

    @cached_property
    def exact_inputs(self) -> AttentionInputs:
        """The selected part of the file's own numbers in float64, on the CPU."""
        return place(self.call, torch.device("cpu"), "float64")

    @property
    def sampled_rows(self) -> tuple[int, ...]:
        """Query rows of the selection, all or 256 of them evenly spaced, for statistics."""
        queries = self.inputs.q.shape[2]
        return tuple(int(row) for row in torch.linspace(0, queries - 1, min(queries, SAMPLED_ROWS)).round())

    @property
    def recorded_output(self) -> Tensor | None:
        """What the file says came out of the selected part, ``(B, Hq, Sq, Dv)``, as the file has it."""
        return self._selected(self.call.recorded.output)

    @property
    def recorded_weights(self) -> Tensor | None:
        """What the file says the weights of the selected part were, ``(B, Hq, Sq, Sk)``."""
        return self._selected(self.call.recorded.weights)

    def _selected(self, x: Tensor | None) -> Tensor | None:
        if x is None:
            return None
        within = self.within
        for axis, numbers in enumerate((within.batch, within.heads, within.queries.tolist())):
            if len(numbers) < x.shape[axis]:
                x = pick(x, axis, numbers)
        return x
