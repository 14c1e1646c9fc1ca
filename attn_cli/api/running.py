"""Runs a call for the Python API, which leaves the program around it as it was."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Collection
from dataclasses import replace

import torch

from attn_cli.api.inspection import Inspection
from attn_cli.attention.ambient import as_in_a_new_process
from attn_cli.attention.backends import BACKENDS
from attn_cli.attention.devices import resolve_device
from attn_cli.attention.types import ModuleInputs, dtype_name
from attn_cli.errors import UsageError
from attn_cli.inputs.types import LoadedCall
from attn_cli.inspection.options import InspectOptions
from attn_cli.pipeline import DTYPES, RunOptions, run_call
from attn_cli.recording.swapping.real_runs import inside
from attn_cli.reporters.terminal import picture_limits
from attn_cli.reporters.terminal.console import DEFAULT_WIDTH


def run_options(
    top: int, weights: bool, similarity: bool, backend: str, device: str | torch.device, dtype: str | torch.dtype | None
) -> RunOptions:
    """How to run, from what a program passed.

    Raises:
        UsageError: where one of them is nothing that attn knows.
    """
    name = dtype_name(dtype) if isinstance(dtype, torch.dtype) else dtype
    _check_known("dtype", name, DTYPES)
    _check_known("backend", backend, ("auto", *BACKENDS))
    if top < 0:
        raise UsageError(f"top {top}: expected a whole number from 0")
    # One run: a program that asks for an inspection waits for its answer.
    inspect = InspectOptions(top, weights, similarity)
    return RunOptions(str(device), name, backend, repeat=1, inspect=inspect, keep_outputs=True)


def _check_known(what: str, name: str | None, known: Collection[str]) -> None:
    if name is not None and name not in known:
        raise UsageError(f"{what} {name!r}: expected one of {', '.join(known)}")


def run_here(load: Callable[[], LoadedCall], options: RunOptions) -> Inspection:
    """Read, run and inspect one call; its pictures suit a terminal of 80 columns, and any that is wider."""
    if "torch._dynamo" in sys.modules:  # within a compiled function, attn is not to be compiled as well
        disable: Callable[..., Callable[..., Inspection]] = torch.compiler.disable
        return disable(_run)(load, options)
    return _run(load, options)


def _run(load: Callable[[], LoadedCall], options: RunOptions) -> Inspection:
    with inside(), as_in_a_new_process(resolve_device(options.device)):  # a recording hears nothing of it
        start = time.perf_counter()
        call = load()
        load_ms = (time.perf_counter() - start) * 1e3
        rows, columns = picture_limits(DEFAULT_WIDTH, _shown_heads(call))
        inspect = replace(options.inspect, picture_rows=rows, picture_columns=columns)
        return Inspection(run_call(call, replace(options, inspect=inspect), load_ms))


def _shown_heads(call: LoadedCall) -> int:
    if call.selection.heads is not None:
        return len(call.selection.heads)
    return call.inputs.num_heads if isinstance(call.inputs, ModuleInputs) else call.inputs.q.shape[1]
