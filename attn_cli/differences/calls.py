"""The attention calls of two sides: which belong together, and how far apart they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from attn_cli.attention.types import AttentionInputs
from attn_cli.differences.apart import with_differences, worst_places
from attn_cli.differences.heads import OUTPUT, WEIGHTS, Numbers, compare_heads
from attn_cli.differences.maps import MapSize
from attn_cli.differences.shown import Inspect, shown_pair
from attn_cli.differences.sides import Side, SideOutcome, placed, recorded_side, run_side
from attn_cli.differences.sources import Source, Stored
from attn_cli.differences.tolerance import tolerance_of
from attn_cli.differences.types import CallDifference, Compared, ShownPair
from attn_cli.inputs.loading import CallPlan
from attn_cli.inputs.names import step_of
from attn_cli.inputs.text import spans
from attn_cli.inputs.types import LoadedCall
from attn_cli.pipeline import resource_errors

Progress = Callable[[int, int], None]
Pair = tuple[CallPlan, CallPlan]
Key = tuple[str | int, int | None]


@dataclass(frozen=True)
class Matched:
    """The calls that both sides have, and those of one side alone."""

    pairs: tuple[Pair, ...]
    only_left: tuple[CallPlan, ...]
    only_right: tuple[CallPlan, ...]


def match_calls(left: Sequence[CallPlan], right: Sequence[CallPlan]) -> Matched:
    """Calls with the same prefix belong together; of the others those with the same layer and step.

    So do two that are left over where neither has a layer, or each is the only call of its side.
    """
    open_left, open_right = list(left), list(right)
    pairs: list[Pair] = []
    for key in (_prefix_key, _layer_key):
        groups = [_grouped(plans, key) for plans in (open_left, open_right)]
        alike = [(groups[0][one], groups[1].get(one, [])) for one in groups[0]]
        found = [(own[0], other[0]) for own, other in alike if len(own) == len(other) == 1]
        taken = {id(plan) for pair in found for plan in pair}
        open_left = [plan for plan in open_left if id(plan) not in taken]
        open_right = [plan for plan in open_right if id(plan) not in taken]
        pairs += found
    are_alone = len(left) == len(right) == 1
    if len(open_left) == len(open_right) == 1 and (are_alone or open_left[0].layer is open_right[0].layer is None):
        pairs.append((open_left.pop(), open_right.pop()))
    order = {id(plan): place for place, plan in enumerate(left)}
    return Matched(tuple(sorted(pairs, key=lambda pair: order[id(pair[0])])), tuple(open_left), tuple(open_right))


def _prefix_key(plan: CallPlan) -> Key | None:
    return plan.prefix.lower(), plan.layer


def _layer_key(plan: CallPlan) -> Key | None:
    return None if plan.layer is None else (step_of(plan.prefix), plan.layer)


def _grouped(plans: Sequence[CallPlan], key: Callable[[CallPlan], Key | None]) -> dict[Key, list[CallPlan]]:
    """The calls that are alike; one without a key is like no other."""
    groups: dict[Key, list[CallPlan]] = {}
    for plan in plans:
        found = key(plan)
        if found is not None:
            groups.setdefault(found, []).append(plan)
    return groups


@dataclass(frozen=True)
class CallComparison:
    """Runs a call on both sides and compares what comes out.

    Attributes:
        left, right: how each side is run.
        atol, rtol: as asked for; None is that of the dtype.
        size: of the pictures; None makes none.
        inspect: how finely both sides are to be inspected so that they can be shown; None shows none.
    """

    left: Side
    right: Side
    atol: float | None
    rtol: float | None
    size: MapSize | None
    inspect: Inspect | None = None

    def compare(self, plans: Pair, progress: Progress | None = None) -> CallDifference:
        """Load, run and compare one call.

        Raises:
            UsageError, InputError, BackendError, ResourceError: as in reading and running it.
        """
        left_call = plans[0].load()
        right_call = left_call if plans[0] is plans[1] else plans[1].load()
        inputs = placed(left_call, self.left)
        left = run_side(inputs, self.left)
        is_shared = right_call is left_call and self._runs_alike
        if self.right.is_recorded:
            right = recorded_side(right_call)
        else:
            right = run_side(inputs if is_shared else placed(right_call, self.right), self.right)
        reason = _other_heads(left_call, right_call) or _mismatch(left, right)
        records = left_call.record, right_call.record
        if reason is not None:
            shown = self._shown(left_call, right_call, is_shared, None)
            return CallDifference(*records, left.ran, right.ran, reason=reason, shown=shown)
        with resource_errors(left.ran.device), torch.no_grad():
            has_sink = any(call.inputs.rules.sinks is not None for call in (left_call, right_call))
            output, weights = self._compared(inputs, (left, right), is_shared, has_sink, progress)
            shown = self._shown(left_call, right_call, is_shared, weights)
            if shown is not None:
                shown = with_differences(shown, left.weights, right.weights)
        notes = (*self._notes(left_call, right_call), *_notes_of(output))
        return CallDifference(*records, left.ran, right.ran, output, weights, None, notes, shown)

    @property
    def _runs_alike(self) -> bool:
        """Whether both sides take the same inputs to the same device in the same dtype."""
        is_same = (self.left.device, self.left.dtype) == (self.right.device, self.right.dtype)
        return is_same and not self.right.is_recorded

    def _shown(
        self, left: LoadedCall, right: LoadedCall, is_shared: bool, weights: Compared | None
    ) -> ShownPair | None:
        """Both sides to be looked at, exact where ``weights`` differ most."""
        if self.inspect is None:
            return None
        sides = self.left, self.right
        return shown_pair(self.inspect, (left, right), sides, is_shared, worst_places(weights))

    def _compared(
        self,
        inputs: AttentionInputs,
        sides: tuple[SideOutcome, SideOutcome],
        is_shared: bool,
        has_sink: bool,
        progress: Progress | None,
    ) -> tuple[Compared | None, Compared | None]:
        (left, right), index = sides, inputs.index
        numbers = Numbers(index.batch, index.heads, index.queries.cpu())

        def compare(quantity: str, pair: tuple[Source, Source], tell: Progress | None = None) -> Compared:
            tolerance = tolerance_of(pair[0].dtype, pair[1].dtype, self.atol, self.rtol)
            return compare_heads(*pair, quantity, tolerance, numbers, self.size, tell, has_sink)

        output = weights = None
        if left.output is not None and right.output is not None:
            output = compare(OUTPUT, (Stored(left.output), Stored(right.output)))
        if not is_shared and left.weights is not None and right.weights is not None:
            weights = compare(WEIGHTS, (left.weights, right.weights), progress)
        return output, weights

    def _notes(self, left: LoadedCall, right: LoadedCall) -> list[str]:
        """What of the question has no bearing on this call."""
        mask, other = left.inputs.rules.mask, right.inputs.rules.mask
        if left.align == right.align:
            return []
        if not (mask.causal or mask.window is not None or other.causal or other.window is not None):
            return ["neither causal order nor a window is on: the alignment changes no weight"]
        if torch.equal(mask.places, other.places):
            return ["both alignments put every query on the same key: Sq is Sk"]
        return []


def _notes_of(output: Compared | None) -> Iterator[str]:
    """Said where values count as equal because neither side has a number."""
    number = 0 if output is None else output.total.nonfinite_both
    if number:
        are = "value is" if number == 1 else "values are"
        yield f"{number} output {are} NaN or infinite on both sides alike, which counts as equal"


def _other_heads(left: LoadedCall, right: LoadedCall) -> str | None:
    """Why two calls of which a recording kept some heads cannot be compared, or None."""
    kept = [_heads(call) for call in (left, right)]
    if kept[0] is None or kept[1] is None or kept[0] == kept[1]:
        return None
    return f"the left call holds the heads {spans(kept[0])}, the right {spans(kept[1])}"


def _heads(call: LoadedCall) -> tuple[int, ...] | None:
    """The numbers of the heads that are compared; None of a module, which has all of them."""
    if not isinstance(call.inputs, AttentionInputs):
        return call.selection.heads
    return call.selection.heads or call.inputs.index.heads


def _mismatch(left: SideOutcome, right: SideOutcome) -> str | None:
    """Why two outcomes cannot be compared, or None."""
    for what, verb, one, other in (
        ("the weights", "are", _shape(left.weights), _shape(right.weights)),
        ("the output", "is", _shape(left.output), _shape(right.output)),
    ):
        if one is not None and other is not None and one != other:
            return f"{what} of the left call {verb} {one}, of the right {other}"
    return None


def _shape(x: Source | Tensor | None) -> tuple[int, ...] | None:
    return None if x is None else tuple(x.shape)
