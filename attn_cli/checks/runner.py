"""From one loaded call to what the rules find in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace

import torch

from attn_cli.attention.types import AttentionInputs, dtype_name
from attn_cli.checks.evidence import ALONE, Evidence, Surroundings
from attn_cli.checks.types import Check, CheckedCall
from attn_cli.inputs.types import LoadedCall
from attn_cli.inspection.options import InspectOptions
from attn_cli.inspection.stream.plan import is_small
from attn_cli.inspection.stream.threads import one_thread_each
from attn_cli.pipeline import RunOptions, examine, resource_errors, result_of

INSPECT = InspectOptions(top=0, picture_rows=1, picture_columns=1)  # a rule shows no picture


@dataclass(frozen=True)
class Shown:
    """What is to be shown of a call beside its findings.

    Attributes:
        inspect: how finely.
        load_ms: what loading it took.
    """

    inspect: InspectOptions
    load_ms: float


def check_call(
    call: LoadedCall,
    checks: Sequence[Check],
    options: RunOptions,
    progress: Callable[[int, int], None] | None = None,
    surroundings: Surroundings = ALONE,
    shown: Shown | None = None,
) -> CheckedCall:
    """Run and inspect one call, then let every rule look at it.

    Args:
        call: as it was loaded.
        checks: the rules, in the order of their findings.
        options: device, dtype and backend.
        progress: told how many scores of the inspection are done, of how many.
        surroundings: of the call in its file.
        shown: what is to be shown of its heads; None shows nothing.

    Raises:
        UsageError, BackendError: where the options do not fit the call.
        ResourceError: where the device is missing or its memory runs out.
    """
    inputs = call.inputs
    alone = isinstance(inputs, AttentionInputs) and is_small(inputs)  # threads to wait for would cost more
    with one_thread_each() if alone else nullcontext():
        return _checked(call, checks, options, progress, surroundings, shown)


def _checked(
    call: LoadedCall,
    checks: Sequence[Check],
    options: RunOptions,
    progress: Callable[[int, int], None] | None,
    surroundings: Surroundings,
    shown: Shown | None,
) -> CheckedCall:
    options = replace(options, repeat=1, inspect=INSPECT if shown is None else shown.inspect)
    examined = examine(call, options, progress)
    evidence = Evidence(call, examined, surroundings)
    with resource_errors(options.device), torch.no_grad():
        found = [replace(finding, layer=call.layer) for check in checks for finding in check.find(evidence)]
    result = None if shown is None else result_of(call, examined, options, shown.load_ms)
    if result is not None:
        result = replace(result, inspection=replace(result.inspection, findings=tuple(found)))
    inputs = examined.inputs
    return CheckedCall(
        call=call.record,
        shape=inputs.weights_shape,
        kv_heads=inputs.k.shape[1],
        head_dim=inputs.q.shape[3],
        value_dim=inputs.v.shape[3],
        device=str(inputs.q.device),
        dtype=dtype_name(inputs.q.dtype),
        backend_requested=options.backend,
        backend_ran=examined.kernel.ran,
        kernel=examined.kernel.kernel,
        findings=tuple(found),
        shown=result,
    )
