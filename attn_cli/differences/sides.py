"""One side of a comparison: how a call is read and run, and what comes out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from attn_cli.attention import backends
from attn_cli.attention.devices import resolve_device
from attn_cli.attention.selection import Selection, pick
from attn_cli.attention.types import AttentionInputs, dtype_name
from attn_cli.differences.axes import known_role
from attn_cli.differences.sources import Computed, Source, Stored
from attn_cli.differences.types import Ran
from attn_cli.errors import AttnError, InputError, in_file
from attn_cli.inputs.names import OUTPUT, WEIGHTS
from attn_cli.inputs.options import ReadOptions
from attn_cli.inputs.text import describe, shown
from attn_cli.inputs.types import LoadedCall
from attn_cli.pipeline import place, resource_errors

RECORDED = "recorded"
KEPT = (OUTPUT, WEIGHTS)


@dataclass(frozen=True)
class Side:
    """How one side is read and run.

    Attributes:
        read: how its file is read.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        dtype: a dtype's name, or None for the inputs' own.
        backend: ``auto``, a backend's name, or ``"recorded"``: what the file says came out, and nothing is run.
        device_flag, backend_flag: the options that said so, for messages.
    """

    read: ReadOptions
    device: str = "auto"
    dtype: str | None = None
    backend: str = "auto"
    device_flag: str = "--device"
    backend_flag: str = "--backend"

    @property
    def is_recorded(self) -> bool:
        """True where nothing is run."""
        return self.backend == RECORDED

    @contextmanager
    def named(self) -> Iterator[None]:
        """Let errors name the options of this side."""
        try:
            yield
        except AttnError as error:
            texts = [error.message, error.hint]
            for flag, own in (("--device", self.device_flag), ("--backend", self.backend_flag)):
                texts = [text and re.sub(rf"(?<![\w-]){flag}(?![\w-])", own, text) for text in texts]
            raise type(error)(texts[0] or "", texts[1]) from error


@dataclass(frozen=True)
class SideOutcome:
    """What one side of one call gave.

    Attributes:
        ran: what gave the output.
        output: ``(B, Hq, Sq, Dv)``, or None where a recording has none.
        weights: the definition's weights for these inputs, or the recorded ones, or None.
    """

    ran: Ran
    output: Tensor | None
    weights: Source | None


def placed(call: LoadedCall, side: Side) -> AttentionInputs:
    """The selected part of a call where and in what this side runs it."""
    with side.named():
        device = resolve_device(side.device)
    with resource_errors(str(device)), torch.no_grad():
        return place(call, device, side.dtype)


def run_side(inputs: AttentionInputs, side: Side) -> SideOutcome:
    """Run one side's backend.

    Raises:
        BackendError: where it cannot run this call.
        ResourceError: where memory runs out.
    """
    device = str(inputs.q.device)
    with side.named(), resource_errors(device), torch.no_grad():
        run = backends.run(side.backend, inputs)
    ran = Ran(device, dtype_name(inputs.q.dtype), side.backend, run.ran, run.kernel, run.note)
    return SideOutcome(ran, run.output, Computed(inputs))


def recorded_side(call: LoadedCall) -> SideOutcome:
    """What the file says came out of the selected part of a call.

    Raises:
        InputError: where it says nothing.
    """
    output, weights = (_selected(x, call.positions) for x in (call.recorded.output, call.recorded.weights))
    known = output if output is not None else weights
    if known is None:
        raise nothing_recorded(call)
    ran = Ran("file", dtype_name(known.dtype), RECORDED, RECORDED, "as the file has it")
    return SideOutcome(ran, output, None if weights is None else Stored(weights))


def nothing_recorded(call: LoadedCall) -> InputError:
    """The refusal of a file that records no output."""
    where = f"{shown(call.prefix)}: " if call.prefix else ""
    found = f"{where}no recorded output or weights that fit the call"
    unfit = [describe(info) for info in call.tensors if info.role is None and known_role(info.name) in KEPT]
    if unfit:
        found += f" ({'; '.join(unfit)})"
    expected = "expected a tensor called output (B, Hq, Sq, Dv) or weights (B, Hq, Sq, Sk) beside q, k and v"
    return in_file(call.source, found, expected, "--against textbook computes it")


def _selected(x: Tensor | None, selection: Selection) -> Tensor | None:
    if x is None:
        return None
    for axis, numbers in enumerate((selection.batch, selection.heads, selection.queries)):
        if numbers is not None:
            x = pick(x, axis, numbers)
    return x
