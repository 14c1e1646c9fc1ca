"""What a command hands to a reporter: frozen records with everything there is to tell."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

from torch import Tensor

from attn_cli.inputs.types import CallRecord
from attn_cli.inspection.over_calls import HeadSummary, summarize
from attn_cli.inspection.ranking import Order
from attn_cli.inspection.types import Finding, Inspection, Verification
from attn_cli.inspection.worth import WorthLooking, worth_looking_at


@dataclass(frozen=True)
class StepShape:
    """One step of multi-head attention and the shape of what it gives."""

    step: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class RunTiming:
    """Milliseconds. ``attention`` holds a sample for every timed run of the kernel.

    Attributes:
        load: reading the file or drawing the tensors.
        to_device: moving and converting them, and projecting them where they were not projected.
        attention: one number a run.
        inspection: everything measured on the weights.
    """

    load: float
    to_device: float
    attention: tuple[float, ...]
    inspection: float


@dataclass(frozen=True)
class OutputSummary:
    """An output in four numbers; each is NaN or infinite where the output is.

    Attributes:
        of: ``"projected"`` or ``"heads"``.
        shape: ``(B, Sq, E)`` or ``(B, Hq, Sq, Dv)``.
        mean, std, min, max: over all its numbers; the deviation is the population's.
    """

    of: str
    shape: tuple[int, ...]
    mean: float
    std: float
    min: float
    max: float


@dataclass(frozen=True)
class Outputs:
    """What a call computed, on the CPU.

    Attributes:
        output: ``(B, Hq, Sq, Dv)``, the kernel's.
        lse: ``(B, Hq, Sq)``.
        projected: ``(B, Sq, E)``, or None where there is no output projection or heads were left out.
    """

    output: Tensor
    lse: Tensor
    projected: Tensor | None


@dataclass(frozen=True)
class CallResult:
    """One attention call: what was read, what ran and what was seen.

    Attributes:
        call: how the call was read.
        places: ``(Sq,)`` int64, the aligned place of each query of the whole call.
        num_keys: Sk.
        ties_queries_to_keys: True where a query at place p is the token at p: there are as many queries as keys, or
            causal order or a window relates them.
        device: e.g. ``"cpu"``.
        dtype: that the kernel ran in, e.g. ``"float32"``.
        backend_requested, backend_ran: e.g. ``"auto"`` and ``"flash"``.
        kernel: PyTorch's own name of what ran.
        backend_note: why ``auto`` took this backend, or None.
        shapes: every step.
        timing: milliseconds.
        inspection: what every head did.
        verification: the weights shown against the kernel's output.
        summary: of the projected output where there is one, else of the heads'.
        outputs: the numbers themselves, where they were to be kept.
    """

    call: CallRecord
    places: Tensor
    num_keys: int
    ties_queries_to_keys: bool
    device: str
    dtype: str
    backend_requested: str
    backend_ran: str
    kernel: str
    backend_note: str | None
    shapes: tuple[StepShape, ...]
    timing: RunTiming
    inspection: Inspection
    verification: Verification
    summary: OutputSummary
    outputs: Outputs | None


@dataclass(frozen=True)
class ModuleResult:
    """The calls of one module, in the order of their steps; one call where nothing was recorded step by step.

    Attributes:
        calls: at least one.
    """

    calls: tuple[CallResult, ...]

    @cached_property
    def heads(self) -> tuple[HeadSummary, ...]:
        """What each head did over all calls, by its number."""
        return summarize([call.inspection for call in self.calls])

    @cached_property
    def record(self) -> CallRecord:
        """How the first call was read, with the module's path as its prefix."""
        first = self.calls[0].call
        return replace(first, prefix=first.module)

    @property
    def largest(self) -> CallResult:
        """The call with most query rows, the first of equals: its pictures show most."""
        return max(self.calls, key=lambda call: len(call.inspection.index.queries))


@dataclass(frozen=True)
class RunResult:
    """All calls of one ``attn run`` or ``attn demo``, in the order of their layers.

    Attributes:
        command: its name.
        calls: at least one.
        metric: the metric that the report is to show above all, or None.
        order: how to rank the heads by it, or None.
    """

    command: str
    calls: tuple[CallResult, ...]
    metric: str | None = None
    order: Order | None = None

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The findings of all calls."""
        return tuple(finding for result in self.calls for finding in result.inspection.findings)

    @cached_property
    def modules(self) -> tuple[ModuleResult, ...]:
        """The calls by module, in the order of each module's first."""
        of_module: dict[tuple[int | None, str], list[CallResult]] = {}
        for call in self.calls:
            of_module.setdefault((call.call.layer, call.call.module), []).append(call)
        by_step = (sorted(calls, key=lambda call: call.call.step) for calls in of_module.values())
        return tuple(ModuleResult(tuple(calls)) for calls in by_step)

    @cached_property
    def worth_looking_at(self) -> tuple[WorthLooking, ...]:
        """The head that shows each kind best; a module is named by its place in :attr:`modules`."""
        return worth_looking_at([one.heads for one in self.modules], [len(one.calls) for one in self.modules])


@dataclass(frozen=True)
class LessonStep:
    """One step of multi-head attention, told with numbers.

    Attributes:
        title: e.g. ``"Compare every query with every key"``.
        equation: e.g. ``"scores = Q · Kᵀ"``.
        sentence: what it does and why, in one sentence.
        shape: the whole result, ``(B, Hq, Sq, Sk)`` for the scores.
        axes: the name of each axis of ``shape``, ``("B", "Hq", "Sq", "Sk")``.
        numbers: ``(rows, columns)`` on the CPU, the first rows and columns of the result's last two axes at the
            lesson's batch item (and head, where there are heads); bool for a mask. How much of it is shown depends
            on the width, so a whole matrix may be handed over.
        row_axis, column_axis: what a row and a column of ``numbers`` is: ``"query"``, ``"key"``, ``"feature"``.
        row_labels, column_labels: their names, such as tokens; empty numbers them from 0.
        more_rows, more_columns: True where the result has more of them than ``numbers`` holds.
    """

    title: str
    equation: str
    sentence: str
    shape: tuple[int, ...]
    axes: tuple[str, ...]
    numbers: Tensor
    row_axis: str
    column_axis: str
    row_labels: tuple[str, ...] = ()
    column_labels: tuple[str, ...] = ()
    more_rows: bool = False
    more_columns: bool = False


@dataclass(frozen=True)
class Lesson:
    """Every step of one call, from the linear projections to the output projection, in order.

    Attributes:
        steps: as they are computed.
        batch, head: whose numbers the steps show, 0-based in the whole call.
    """

    steps: tuple[LessonStep, ...]
    batch: int = 0
    head: int = 0
