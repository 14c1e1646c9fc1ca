"""What reading a file gives: the call's tensors, and how they were understood."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

from torch import Tensor

from attn_cli.attention.selection import Selection
from attn_cli.attention.types import AttentionInputs, ModuleInputs
from attn_cli.inputs.names import step_of, without_step

if TYPE_CHECKING:
    from attn_cli.inputs.masking import Constraint


@dataclass(frozen=True)
class TensorInfo:
    """One tensor of a file, as the file has it.

    Attributes:
        name: its full name in the file.
        shape: its sizes.
        dtype: torch's name without the module, such as ``"bfloat16"``.
        role: what it was taken for (``"q"``, ``"W_o.weight"``, ``"valid_lens"`` …), or None where it was not used.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    role: str | None = None


@dataclass(frozen=True)
class Convention:
    """One reading that was chosen where several are in use.

    Attributes:
        name: what was to be decided, e.g. ``"scale"``, ``"mask polarity"``, ``"causal alignment"``, ``"layout"``.
        value: what was chosen, e.g. ``"0.1768 = 1/√32"``.
        origin: who chose it: ``"default"``, ``"--scale"``, ``"file"`` (a tensor) or ``"metadata"``.
    """

    name: str
    value: str
    origin: str


@dataclass(frozen=True)
class CallRecord:
    """How one attention call was read; none of its tensors.

    Attributes:
        source: where it came from: a path, ``"-"`` or ``"random"``.
        prefix: what stands before the names of its tensors, ``"layers.3"``; empty where nothing does.
        layer: the layer's number, or None.
        selection: the part of it to inspect, in the numbers of the program's call.
        tensors: every tensor of this call, and what it was taken for.
        unused: tensors of the file that no call uses.
        conventions: how it was read.
        tokens: for each batch item of the whole call the text of each key; None where unknown.
        align_chosen: False where causal order or a window was aligned by default although Sq ≠ Sk.
        align: ``"bottom-right"``, ``"top-left"`` or ``"offset N"``.
    """

    source: str
    prefix: str
    layer: int | None
    selection: Selection
    tensors: tuple[TensorInfo, ...]
    unused: tuple[TensorInfo, ...]
    conventions: tuple[Convention, ...]
    tokens: tuple[tuple[str, ...], ...] | None
    align: str
    align_chosen: bool

    @property
    def step(self) -> int:
        """How many calls of the same module came before, in a recording; else 0."""
        return step_of(self.prefix)

    @property
    def module(self) -> str:
        """The prefix without its step: the same for all steps of a recorded module."""
        return without_step(self.prefix)


@dataclass(frozen=True)
class Recorded:
    """What a file says came out of a call, by whoever computed it; None where it says nothing.

    Attributes:
        output: ``(B, Hq, Sq, Dv)``.
        weights: ``(B, Hq, Sq, Sk)``.
    """

    output: Tensor | None = None
    weights: Tensor | None = None


@dataclass(frozen=True)
class LoadedCall(CallRecord):
    """One attention call out of a file, or drawn at random, before it is moved to a device.

    Attributes:
        inputs: the tensors of the whole call; the selection is not yet applied.
        recorded: what the file says came out of the whole call.
        constraints: the masks and biases that the rules of ``inputs`` were made of; empty where none came from a file.
    """

    inputs: AttentionInputs | ModuleInputs
    recorded: Recorded = Recorded()
    constraints: tuple[Constraint, ...] = ()

    @property
    def positions(self) -> Selection:
        """The selection as positions in the tensors, which hold fewer heads where a recording kept some alone."""
        if not isinstance(self.inputs, AttentionInputs) or self.selection.heads is None:
            return self.selection
        place_of = {number: place for place, number in enumerate(self.inputs.index.heads)}
        return replace(self.selection, heads=tuple(place_of[number] for number in self.selection.heads))

    @property
    def record(self) -> CallRecord:
        """What is known of the call without its tensors, which need not stay in memory."""
        return CallRecord(**{field.name: getattr(self, field.name) for field in fields(CallRecord)})
