"""What the kernel gives for the row that is told, beside the float64 output."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from attn_cli.attention import backends
from attn_cli.attention.devices import resolve_device
from attn_cli.attention.selection import Selection
from attn_cli.attention.types import dtype_name
from attn_cli.errors import InputError, UsageError
from attn_cli.explanation.one_row import OneRow
from attn_cli.explanation.types import KernelRow
from attn_cli.inputs.types import LoadedCall
from attn_cli.pipeline import place


@dataclass(frozen=True)
class KernelOptions:
    """What to run the row with: device, dtype (None is the file's) and backend, as ``attn run`` has them."""

    device: str = "auto"
    dtype: str | None = None
    backend: str = "auto"


def run_kernel(call: LoadedCall, row: OneRow, exact: Tensor, options: KernelOptions) -> KernelRow:
    """Run the row and compare.

    Args:
        call: the whole call.
        row: cut out of it.
        exact: ``(Dv,)``, the float64 output.
        options: what to run it with.

    Raises:
        BackendError: where the named backend cannot run it.
        ResourceError: where the device is missing or its memory runs out.
    """
    device = resolve_device(options.device)
    alone = replace(call, inputs=row.inputs, selection=Selection())
    name = options.dtype or dtype_name(call.inputs.dtype)
    try:
        inputs = place(alone, device, options.dtype)
    except (UsageError, InputError) as error:  # this row cannot be had in the dtype; the float64 numbers stand
        return KernelRow(str(device), name, options.backend, "", "", error.message, (), None, None, 0)
    run = backends.run(options.backend, inputs)
    output = run.output[0, 0, 0].to("cpu", torch.float64)  # (Dv,)
    apart = (output - exact).abs()
    both = output.isfinite() & exact.isfinite()
    feature = int(torch.where(both, apart, -1.0).argmax()) if bool(both.any()) else None
    difference = None if feature is None else float(apart[feature])
    lonely = int((output.isfinite() ^ exact.isfinite()).sum())
    told = tuple(output.tolist())
    return KernelRow(str(device), name, options.backend, run.ran, run.kernel, None, told, difference, feature, lonely)
