"""What a call would give under other rules: what another reading of its mask changes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import reduce

import torch
from torch import Tensor

from attn_cli.attention.blocks import row_blocks
from attn_cli.attention.selection import Selection, select
from attn_cli.attention.types import AttentionInputs, Rules
from attn_cli.checks.evidence import Evidence
from attn_cli.checks.patterns import MASK, Pattern, chosen, tell
from attn_cli.inspection.findings.rules import place_in_call
from attn_cli.inspection.inspector import inspect
from attn_cli.inspection.options import InspectOptions
from attn_cli.inspection.types import Place

MOST_SCORES = 2**33  # more than a minute's work on a laptop: then a sample of the rows has to do
VALUES_AT_ONCE = 2**22
OUTPUT_ALONE = InspectOptions(top=0, picture_rows=1, picture_columns=1)


@dataclass(frozen=True)
class Change:
    """How far the output of a call is from its output under other rules.

    Attributes:
        largest: the largest absolute difference, where both are finite.
        place: batch item, head, query and feature of it, in the whole call.
        is_sampled: True where evenly spaced query rows stand for all.
    """

    largest: float
    place: Place
    is_sampled: bool

    @property
    def text(self) -> str:
        """``"changes by up to 0.5 (batch 0, head 1, query 3)"``."""
        of_sample = " in a sample of the query rows" if self.is_sampled else ""
        if not self.largest:
            return f"stays the same{of_sample}"
        place = self.place
        where = f"batch {place.batch}, head {place.head}, query {place.query}"
        return f"changes by up to {self.largest:.3g}{of_sample} ({where})"


@dataclass(frozen=True)
class InvertedMask:
    """The keep mask of the selected part with some of the call's masks read the other way round.

    Attributes:
        name: which, ``"the mask"`` or ``"all masks"``.
        hint: how to have them read so.
        keep: bool, broadcasts to ``(B, Hq, Sq, Sk)``, on the CPU.
    """

    name: str
    hint: str
    keep: Tensor


def output_under(inputs: AttentionInputs, rules: Rules) -> Tensor:
    """The output ``(B, Hq, Sq, Dv)`` of a call under other rules, in bounded memory, on the CPU."""
    output = inspect(replace(inputs, rules=rules), OUTPUT_ALONE).output
    assert output is not None  # every inspection has it
    return output


def output_change(evidence: Evidence, rules: Rules) -> Change | None:
    """What the output of the selected part becomes under ``rules``, which are those of the selected part.

    It takes a second pass over the scores; of a very long call, over those of a sample of its query rows.

    Returns:
        The change, or None where no output is finite under both.
    """
    inputs, before = evidence.inputs, evidence.inspection.output
    assert before is not None  # every inspection has it
    batch, heads, queries, keys = inputs.weights_shape
    is_sampled = batch * heads * queries * keys > MOST_SCORES and len(evidence.sampled_rows) < queries
    rows = evidence.sampled_rows if is_sampled else tuple(range(queries))
    other = select(replace(inputs, rules=rules), Selection(queries=rows))
    after = output_under(other, other.rules)
    found = _largest(before if not is_sampled else before[:, :, torch.tensor(rows)], after)
    if found is None:
        return None
    largest, (item, head, row, feature) = found
    place = replace(place_in_call(evidence.index, None, item, head, rows[row]), feature=feature)
    return Change(largest, place, is_sampled)


def _largest(one: Tensor, two: Tensor) -> tuple[float, tuple[int, int, int, int]] | None:
    """The largest difference of two outputs where both are finite, and where it is."""
    best: tuple[float, tuple[int, int, int, int]] | None = None
    batch, heads, queries, size = one.shape
    for rows in row_blocks(queries, batch * heads * size, VALUES_AT_ONCE):
        apart = (one[:, :, rows].double() - two[:, :, rows].double()).abs()
        apart = torch.where(apart.isfinite(), apart, -1.0)
        flat = int(apart.argmax())
        largest = float(apart.flatten()[flat])
        if largest >= 0 and (best is None or largest > best[0]):
            place = [int(number) for number in torch.unravel_index(torch.tensor(flat), apart.shape)]
            best = largest, (place[0], place[1], place[2] + rows.start, place[3])
    return best


def both_readings(evidence: Evidence, other: Rules, how: str = "the other way round") -> str:
    """What is visible now, and what other rules of the selected part would make of it.

    Args:
        evidence: of the call.
        other: the rules under the other reading.
        how: what that reading is called.
    """
    change = output_change(evidence, other)
    effect = "" if change is None else f", and the output {change.text}"
    hides = evidence.bias_hides
    now = tell(evidence.inputs.rules, hides)
    return f"{now.text}; read {how}, {tell(other, hides or None).text}{effect}"


def rules_with(evidence: Evidence, others: Mapping[Pattern, Pattern]) -> Rules:
    """The rules of the selected part with other masks and biases in place of some of the call's.

    Args:
        evidence: of the call.
        others: by a part of ``evidence.parts`` what takes its place, in the whole call.
    """
    rules = evidence.inputs.rules
    for kind in {part.kind for part in others}:
        parts = (others.get(part, part) for part in evidence.parts if part.kind == kind)
        numbers = [chosen(part.numbers, evidence.within) for part in parts]
        combined = reduce(torch.logical_and if kind == MASK else torch.add, numbers)
        rules = with_numbers(rules, kind, combined)
    return rules


def inverted_masks(evidence: Evidence) -> Iterator[InvertedMask]:
    """The masks read the other way round: together those that one flag governs, then each of several by itself."""
    masks = [part for part in evidence.parts if part.kind == MASK]
    governed = [part for part in masks if not part.has_own_polarity]
    groups = [governed] * bool(governed) + [[part] for part in masks if [part] != governed]
    for group in groups:
        keep = rules_with(evidence, {part: part.inverted() for part in group}).mask.keep
        assert keep is not None  # there is a mask
        name = group[0].label if len(group) == 1 else "all masks"
        hint = "Read it with the other --mask-polarity." if group is governed else "Invert it where it is made."
        yield InvertedMask(name, hint, keep.cpu())


def with_numbers(rules: Rules, kind: str, numbers: Tensor) -> Rules:
    """The same rules with another keep mask or another bias; ``kind`` says which, ``"mask"`` or ``"bias"``."""
    if kind == MASK:
        return replace(rules, mask=replace(rules.mask, keep=numbers.to(rules.mask.places.device)))
    dtype = numbers.dtype if rules.bias is None else rules.bias.dtype
    return replace(rules, bias=numbers.to(rules.mask.places.device, dtype))
