"""What a call would give under other rules: what another reading of its mask changes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from attn_cli.attention.blocks import row_blocks
from attn_cli.attention.selection import Selection, select
from attn_cli.attention.types import AttentionInputs, CallIndex, Rules
from attn_cli.checks.evidence import Evidence
from attn_cli.checks.patterns import HIDING, hiding_constants, tell
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
    return f"{tell(evidence.inputs.rules).text}; read {how}, {tell(other).text}{effect}"


def inverted(rules: Rules, name: str) -> Rules:
    """The same rules with the mask, or the bias that hides, read the other way round.

    Args:
        rules: of a call.
        name: which of the two, ``"mask"`` or ``"bias"``; it must be there.
    """
    if name == "mask":
        assert rules.mask.keep is not None
        return replace(rules, mask=replace(rules.mask, keep=~rules.mask.keep))
    assert rules.bias is not None
    constant = (hiding_constants(rules.bias) or (-torch.inf,))[0]
    return replace(rules, bias=torch.where(rules.bias <= HIDING, 0.0, constant).to(rules.bias.dtype))


def chosen(x: Tensor, index: CallIndex) -> Tensor:
    """The selected part of a tensor of the whole call that broadcasts to ``(B, Hq, Sq, Sk)``."""
    for axis, numbers in enumerate((index.batch, index.heads, index.queries.tolist())):
        if 1 < x.shape[axis] != len(numbers) or (x.shape[axis] > 1 and list(numbers) != list(range(len(numbers)))):
            x = x.index_select(axis, torch.tensor(numbers, device=x.device))
    return x


def with_numbers(rules: Rules, name: str, numbers: Tensor) -> Rules:
    """The same rules with another keep mask or another bias; ``name`` says which, ``"mask"`` or ``"bias"``."""
    if name == "mask":
        return replace(rules, mask=replace(rules.mask, keep=numbers.to(rules.mask.places.device)))
    dtype = numbers.dtype if rules.bias is None else rules.bias.dtype
    return replace(rules, bias=numbers.to(rules.mask.places.device, dtype))
