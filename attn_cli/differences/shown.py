"""The heads of both sides of a comparison, so that they can be looked at."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from attn_cli.differences.sides import Side, recorded_side
from attn_cli.differences.sources import Stored
from attn_cli.differences.types import ShownPair
from attn_cli.inputs.types import LoadedCall
from attn_cli.inspection.options import InspectOptions
from attn_cli.inspection.stored import stored_inspection
from attn_cli.inspection.types import Place, Verification
from attn_cli.pipeline import RunOptions, run_call
from attn_cli.results import CallResult

Inspect = Callable[[LoadedCall, LoadedCall | None], InspectOptions]
Calls = tuple[LoadedCall, LoadedCall]
Places = tuple[tuple[int, int] | None, ...]


def shown_pair(
    inspect: Inspect, calls: Calls, sides: tuple[Side, Side], is_shared: bool, worst: Places = ()
) -> ShownPair:
    """Inspect both sides of a call.

    Args:
        inspect: how finely, which is the same for both so that they can be subtracted.
        calls: as they were loaded.
        sides: how each is run.
        is_shared: whether both have the same Q, K and rules, and so the same weights.
        worst: the query row and key of each head whose weights are to be given one by one.
    """
    has_right = not is_shared and (not sides[1].is_recorded or calls[1].recorded.weights is not None)
    options = _around(inspect(calls[0], calls[1] if has_right else None), worst)
    left = _ran(calls[0], sides[0], options)
    if not has_right:
        return ShownPair(left, None)
    return ShownPair(left, _recorded(calls[1], left) if sides[1].is_recorded else _ran(calls[1], sides[1], options))


def _around(options: InspectOptions, worst: Places) -> InspectOptions:
    return options if options.detail is None else replace(options, detail=replace(options.detail, around=worst))


def _ran(call: LoadedCall, side: Side, options: InspectOptions) -> CallResult:
    with side.named():
        return run_call(call, RunOptions(side.device, side.dtype, side.backend, 1, options), math.nan)


def _recorded(call: LoadedCall, left: CallResult) -> CallResult:
    """What the file says, in the cells of what was run; a kernel did not give it."""
    side = recorded_side(call)
    assert isinstance(side.weights, Stored)  # or there would be no right side
    x, ran = side.weights.x, side.ran
    return replace(
        left,
        device=ran.device,
        dtype=ran.dtype,
        backend_requested=ran.requested,
        backend_ran=ran.ran,
        kernel=ran.kernel,
        backend_note=None,
        shapes=(),
        inspection=stored_inspection(x, left.inspection),
        verification=Verification(math.nan, ran.ran, 0, Place(), math.inf),
    )
