"""Inspecting a call while the program that made it runs: of the call's own tensors nothing is kept."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace

from torch import Tensor

from attn_cli.attention.ambient import plainly
from attn_cli.attention.torch_compat import settle_math_functions
from attn_cli.attention.types import AttentionInputs, dtype_name
from attn_cli.inspection.inspector import inspect
from attn_cli.inspection.options import InspectOptions
from attn_cli.inspection.stream.plan import is_small
from attn_cli.inspection.stream.threads import one_thread_each
from attn_cli.inspection.types import Finding, Inspection, Verification
from attn_cli.inspection.verification import verification_finding, verify
from attn_cli.recording.faults import reason
from attn_cli.recording.libraries.base import PassedOver
from attn_cli.recording.swapping.real_runs import unseen
from attn_cli.recording.types import CallSite, CaughtCall

CELLS = 16
OPTIONS = InspectOptions(top=1, picture_rows=CELLS, picture_columns=CELLS)

Shape = tuple[int, ...]


@dataclass(frozen=True)
class WatchedShape:
    """The sizes of what was inspected; ``total_heads`` are the call's query heads before some were left out."""

    batch: int
    heads: int
    kv_heads: int
    queries: int
    keys: int
    head_dim: int
    value_dim: int
    total_heads: int


@dataclass(frozen=True)
class WatchedRules:
    """All that stood between Q·Kᵀ and the weights; of a tensor its shape, or None where there is none.

    Attributes:
        causal: whether a query sees no key behind its place.
        align: how places are aligned: ``"bottom-right"``, ``"top-left"`` or a number N.
        window: keys kept on each side of a query's place, −1 is unlimited, or None.
        scale: factor on Q·Kᵀ.
        softcap, mask_value: or None.
        valid_lens, mask, bias, sinks: shapes.
        dropout: the probability with which the program dropped weights. The inspection drops none.
    """

    causal: bool
    align: str | int
    window: tuple[int, int] | None
    scale: float
    softcap: float | None
    mask_value: float | None
    valid_lens: Shape | None
    mask: Shape | None
    bias: Shape | None
    sinks: Shape | None
    dropout: float


@dataclass(frozen=True)
class WatchedCall:
    """What one call of a running program did; none of the program's tensors.

    Attributes:
        number: counts all calls that the program made, from 0.
        site: where it was made.
        shape: what was inspected.
        dtype: of Q, e.g. ``"bfloat16"``.
        device: e.g. ``"cpu"``.
        rules: of the call.
        milliseconds: what watching it took.
        inspection: metrics, labels, pictures of at most 16 × 16 cells, the strongest pair of each head and all
            findings; without output and lse.
        verification: the inspected weights times V against what the program's function returned; None where it did
            not return the heads' output, or dropped weights.
    """

    number: int
    site: CallSite
    shape: WatchedShape
    dtype: str
    device: str
    rules: WatchedRules
    milliseconds: float
    inspection: Inspection
    verification: Verification | None

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What its user should know, that of the verification last."""
        return self.inspection.findings


class Watcher:
    """A sink that inspects every call at once, and drops it; see :class:`Sink`. Several threads may use it together.

    Args:
        write: takes what was found of a call.
    """

    def __init__(self, write: Callable[[WatchedCall], None]) -> None:
        self._write = write

    def take(self, call: CaughtCall) -> bool:
        """Inspect a call, and have written what was found; there is room for any number of them.

        Raises:
            PassedOver: where it cannot be inspected, for want of memory or whatever else.
        """
        try:
            watched = watch(call)
        except Exception as fault:
            raise PassedOver(reason(fault, "inspected")) from None
        self._write(watched)
        return True


def watch(call: CaughtCall) -> WatchedCall:
    """Inspect a call where its tensors are, as ``attn run`` would.

    No random number is drawn, and gradients, modes and the number of threads are afterwards what they were.

    Args:
        call: as it was caught; nothing of it is changed, and no tensor of it kept.
    """
    with unseen(), plainly([call.inputs.q.device.type]):
        alone = one_thread_each() if is_small(call.inputs) else nullcontext()  # threads to wait for would cost more
        with alone:
            return _watched(call)


def _watched(call: CaughtCall) -> WatchedCall:
    start, inputs = time.perf_counter(), call.inputs
    settle_math_functions()
    inspection = inspect(inputs, OPTIONS)
    verification = _verification(call, inspection.output)
    of_output = None if verification is None else verification_finding(verification)
    findings = inspection.findings if of_output is None else (*inspection.findings, of_output)
    return WatchedCall(
        number=call.number,
        site=call.site,
        shape=_shape(inputs),
        dtype=dtype_name(inputs.q.dtype),
        device=str(inputs.q.device),
        rules=_rules(call),
        milliseconds=(time.perf_counter() - start) * 1e3,
        inspection=replace(inspection, output=None, lse=None, findings=findings),
        verification=verification,
    )


def _verification(call: CaughtCall, inspected: Tensor | None) -> Verification | None:
    if call.output is None or inspected is None:
        return None
    inputs = call.inputs
    dtype = call.output.dtype if call.output.dtype.itemsize < inputs.q.dtype.itemsize else inputs.q.dtype
    return verify(inspected, call.output, call.site.function, dtype, inputs.index, inputs.rules)


def _shape(inputs: AttentionInputs) -> WatchedShape:
    batch, heads, queries, keys = inputs.weights_shape
    return WatchedShape(
        batch=batch,
        heads=heads,
        kv_heads=inputs.k.shape[1],
        queries=queries,
        keys=keys,
        head_dim=inputs.q.shape[3],
        value_dim=inputs.v.shape[3],
        total_heads=inputs.index.total_heads,
    )


def _rules(call: CaughtCall) -> WatchedRules:
    inputs, rules = call.inputs, call.inputs.rules
    return WatchedRules(
        causal=rules.mask.causal,
        align=call.align,
        window=rules.mask.window,
        scale=inputs.scale,
        softcap=rules.softcap,
        mask_value=rules.mask.value,
        valid_lens=_shape_of(rules.mask.valid_lens),
        mask=_shape_of(rules.mask.keep),
        bias=_shape_of(rules.bias),
        sinks=_shape_of(rules.sinks),
        dropout=call.dropout,
    )


def _shape_of(x: Tensor | None) -> Shape | None:
    return None if x is None else tuple(x.shape)
