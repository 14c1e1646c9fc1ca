"""One attention call from its loaded tensors to its result: place, run, time, inspect, verify."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from attn_cli.attention import backends, textbook
from attn_cli.attention.devices import resolve_device, synchronize
from attn_cli.attention.selection import Selection, select, select_batch
from attn_cli.attention.types import AttentionInputs, ModuleInputs, accumulation_dtype, dtype_name
from attn_cli.benchmark.room import check_room
from attn_cli.benchmark.timing import ENOUGH_SECONDS, time_runs
from attn_cli.errors import ResourceError, UsageError, in_file, is_out_of_memory
from attn_cli.inputs.names import HEADS
from attn_cli.inputs.settings import METADATA
from attn_cli.inputs.text import bytes_text, shown
from attn_cli.inputs.types import LoadedCall
from attn_cli.inspection.findings import alignment_finding, module_findings
from attn_cli.inspection.findings.rules import NONFINITE_INPUT
from attn_cli.inspection.inspector import inspect
from attn_cli.inspection.options import InspectOptions, Zoom
from attn_cli.inspection.types import Finding, Inspection, Verification
from attn_cli.inspection.verification import verification_finding, verify
from attn_cli.inspection.zoom import zoomed_rows
from attn_cli.results import CallResult, Outputs, OutputSummary, RunTiming, StepShape

DTYPES = {
    "float64": torch.float64,
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
SELECT_LESS = "select some with --batch, --head and --query"
COMPARED_BYTES = 64  # of two heads, while they are compared: sums, counts and their means in float64
ASKED_FOR = re.compile(r"allocate (\d+) bytes")  # how PyTorch tells of memory that it did not get on the CPU


@dataclass(frozen=True)
class RunOptions:
    """How to run a loaded call.

    Attributes:
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        dtype: a name of :data:`DTYPES`, or None for the inputs' own.
        backend: ``auto`` or a name of :data:`attn_cli.attention.backends.BACKENDS`.
        repeat: timed runs of the kernel; None lets the clock decide.
        inspect: what to keep of the inspection.
        keep_outputs: whether the result holds the outputs themselves.
        timing_seconds: after so many no further timed run is begun, where the clock decides.
        calls: how many calls' results are held together.
        bytes_a_number: what whoever gives out weights and similarity takes for each number, beside the tensor.
    """

    device: str = "auto"
    dtype: str | None = None
    backend: str = "auto"
    repeat: int | None = None
    inspect: InspectOptions = field(default_factory=InspectOptions)
    keep_outputs: bool = False
    timing_seconds: float = ENOUGH_SECONDS
    calls: int = 1
    bytes_a_number: int = 0


@dataclass(frozen=True)
class Examined:
    """One call that was run and inspected, with its tensors.

    Attributes:
        inputs: the selected part of it, on the device and in the dtype that the kernel ran in.
        kernel: what ran.
        output: ``(B, Hq, Sq, Dv)``, the kernel's, on the CPU.
        projected: ``(B, Sq, E)`` on the CPU, or None where there is no output projection or heads were left out.
        inspection: what every head did, with output, lse and all findings.
        verification: the weights shown against the kernel's output.
        samples: milliseconds of each timed run of the kernel.
        to_device_ms, inspection_ms: what the other steps took.
    """

    inputs: AttentionInputs
    kernel: backends.KernelRun
    output: Tensor
    projected: Tensor | None
    inspection: Inspection
    verification: Verification
    samples: tuple[float, ...]
    to_device_ms: float
    inspection_ms: float


def run_call(
    call: LoadedCall,
    options: RunOptions,
    load_ms: float,
    progress: Callable[[int, int], None] | None = None,
) -> CallResult:
    """Run and inspect one call.

    Args:
        call: as it was loaded.
        options: how to run it.
        load_ms: what loading took, for the report.
        progress: told after each piece of work how many scores are done, of how many.

    Raises:
        UsageError, BackendError: where the options do not fit the call.
        ResourceError: where the device is missing or its memory runs out.
    """
    return result_of(call, examine(call, options, progress), options, load_ms)


def result_of(call: LoadedCall, seen: Examined, options: RunOptions, load_ms: float) -> CallResult:
    """What a report tells of a call that was run and inspected.

    Args:
        call: as it was loaded.
        seen: what :func:`examine` gave.
        options: how it was run.
        load_ms: what loading took.
    """
    inspection, kernel, projected = seen.inspection, seen.kernel, seen.projected
    assert inspection.lse is not None  # until the result drops it
    return CallResult(
        call=call.record,
        places=call.inputs.rules.mask.places,
        num_keys=call.inputs.rules.mask.num_keys,
        ties_queries_to_keys=_ties_queries_to_keys(call),
        device=str(seen.inputs.q.device),
        dtype=dtype_name(seen.inputs.q.dtype),
        backend_requested=options.backend,
        backend_ran=kernel.ran,
        kernel=kernel.kernel,
        backend_note=kernel.note,
        shapes=step_shapes(call.inputs, seen.inputs),
        timing=RunTiming(load_ms, seen.to_device_ms, seen.samples, seen.inspection_ms),
        inspection=replace(inspection, output=None, lse=None),
        verification=seen.verification,
        summary=_summary(seen.output, projected),
        outputs=Outputs(seen.output, inspection.lse, projected) if options.keep_outputs else None,
    )


def examine(call: LoadedCall, options: RunOptions, progress: Callable[[int, int], None] | None = None) -> Examined:
    """Place, run, time, inspect and verify one call; see :func:`run_call`."""
    device = resolve_device(options.device)
    with resource_errors(str(device)), torch.no_grad():
        start = time.perf_counter()
        if options.inspect.zoom is not None:
            _check_zoom(call, options.inspect.zoom)
        inputs = place(call, device, options.dtype)
        _check_memory(inputs, options)
        to_device_ms = (time.perf_counter() - start) * 1e3
        kernel = backends.run(options.backend, inputs)
        samples = time_runs(kernel.again, device, options.repeat, options.timing_seconds)
        start = time.perf_counter()
        inspection = inspect(inputs, options.inspect, progress)
        inspection_ms = (time.perf_counter() - start) * 1e3
        assert inspection.output is not None  # every inspection has it, until a result drops it
        output = kernel.output.cpu()
        verification = verify(inspection.output, output, kernel.ran, inputs.q.dtype, inputs.index, inputs.rules)
        projected = _projected(inputs, kernel.output)
    found = (
        *_before_projection(call, inputs, inspection),
        *inspection.findings,
        _alignment(call, inputs),
        verification_finding(verification),
    )
    findings = tuple(replace(one, layer=call.layer) for one in found if one is not None)
    inspection = replace(inspection, findings=findings)
    return Examined(inputs, kernel, output, projected, inspection, verification, samples, to_device_ms, inspection_ms)


def _before_projection(call: LoadedCall, inputs: AttentionInputs, inspection: Inspection) -> tuple[Finding, ...]:
    """What broke q, k or v, where that was not in the call but is of its projection."""
    is_broken = any(one.code == NONFINITE_INPUT.code and one.place.tensor in HEADS for one in inspection.findings)
    if not is_broken or not isinstance(call.inputs, ModuleInputs):
        return ()
    return module_findings(call.inputs.to(torch.device("cpu"), call.inputs.dtype), inputs.index)


def _ties_queries_to_keys(call: LoadedCall) -> bool:
    mask = call.inputs.rules.mask
    return mask.causal or mask.window is not None or len(mask.places) == mask.num_keys


def _summary(output: Tensor, projected: Tensor | None) -> OutputSummary:
    of, x = ("heads", output) if projected is None else ("projected", projected)
    numbers = x.double()
    measures = (numbers.mean(), numbers.std(correction=0), numbers.amin(), numbers.amax())
    return OutputSummary(of, tuple(x.shape), *(float(measure) for measure in measures))


def _check_memory(inputs: AttentionInputs, options: RunOptions) -> None:
    """Refuse to return weights or a comparison of all heads that cannot fit, before anything is computed.

    Raises:
        ResourceError: where they are larger than the memory that is free.
    """
    shape, held = tuple(inputs.weights_shape), options.calls
    of = f", of {held} calls" if held > 1 else ""
    if options.inspect.weights:
        each = accumulation_dtype(inputs.q.dtype).itemsize + options.bytes_a_number
        check_room("--weights", f"all weights {shape}{of}", held * math.prod(shape) * each, SELECT_LESS)
    if options.inspect.similarity:
        pairs = (shape[0], shape[1], shape[1])
        needed = math.prod(pairs) * (COMPARED_BYTES + held * options.bytes_a_number)
        check_room("--similarity", f"every two heads {pairs}{of}", needed, SELECT_LESS)


def _check_zoom(call: LoadedCall, zoom: Zoom) -> None:
    """Refuse a window that is not in the call, before anything is computed.

    Raises:
        UsageError: where it reaches beyond the call's query rows or keys, or holds none of the selected rows.
    """
    mask, queries = call.inputs.rules.mask, call.selection.queries
    try:
        zoom.within(len(mask.places), mask.num_keys)
        if queries is not None:
            zoomed_rows(zoom, torch.tensor(queries))
    except IndexError as error:
        where = f"{shown(call.prefix)}: " if call.prefix else ""
        raise UsageError(f"--zoom '{zoom}': {where}{error}") from error


def place(call: LoadedCall, device: torch.device, dtype_name: str | None = None) -> AttentionInputs:
    """The selected part of ``call`` on ``device``, projected where it was not.

    Raises:
        UsageError, InputError: where the mask value does not fit the dtype, or the device lacks the dtype.
    """
    dtype = call.inputs.dtype if dtype_name is None else DTYPES[dtype_name]
    if device.type == "mps" and dtype == torch.float64:
        raise UsageError("--device mps: Apple's GPUs have no float64; expected a smaller dtype", "add --dtype float32")
    check_mask_value(call, dtype)
    if isinstance(call.inputs, ModuleInputs):
        inputs = _project(call.inputs, call.selection, device, dtype)
    else:
        inputs = select(call.inputs, call.positions).to(device, dtype)
    synchronize(device)
    return inputs


def _project(module: ModuleInputs, selection: Selection, device: torch.device, dtype: torch.dtype) -> AttentionInputs:
    """The selected heads and queries of a module's call; batch items that were not selected are not projected."""
    whole = len(module.queries)
    batch = tuple(range(whole)) if selection.batch is None else selection.batch
    inputs = textbook.project_inputs(select_batch(module, batch).to(device, dtype))
    inputs = replace(inputs, index=replace(inputs.index, batch=batch, total_batch=whole))
    return select(inputs, replace(selection, batch=None))


def check_mask_value(call: LoadedCall, dtype: torch.dtype) -> None:
    """Refuse what a hidden logit becomes where the dtype cannot hold it.

    Raises:
        UsageError, InputError: of the option, or of the file whose metadata say it.
    """
    value, limit = call.inputs.rules.mask.value, torch.finfo(dtype).max
    if value is None or abs(value) <= limit:
        return
    found, expected = f"{value:g}: does not fit {dtype_name(dtype)}", f"expected at most ±{limit:g}"
    if any(one.name == "mask value" and one.origin == METADATA for one in call.conventions):
        where = f"{shown(call.prefix)}: " if call.prefix else ""
        raise in_file(call.source, f"{where}metadata mask_value is {found}", expected, "--mask-value overrides it")
    raise UsageError(f"--mask-value {found}; {expected}")


def _projected(inputs: AttentionInputs, output: Tensor) -> Tensor | None:
    """The output projection of the whole layer, ``(B, Sq, E)`` on the CPU; None where a part of it is missing."""
    if inputs.output_projection is None or not inputs.index.has_every_head:
        return None
    heads = inputs.index.heads
    in_order = sorted(range(len(heads)), key=heads.__getitem__)
    return textbook.project_output(output[:, in_order], inputs.output_projection).cpu()


def _alignment(call: LoadedCall, inputs: AttentionInputs) -> Finding | None:
    return None if call.align_chosen else alignment_finding(inputs, call.align)


def step_shapes(loaded: AttentionInputs | ModuleInputs, inputs: AttentionInputs) -> tuple[StepShape, ...]:
    """Every step of this call with the shape of what it gives, the selection applied."""
    weights = inputs.weights_shape
    batch, heads, queries, _ = weights
    steps: list[tuple[str, tuple[int, ...]]] = []
    if isinstance(loaded, ModuleInputs):
        steps += _projection_shapes(loaded)
    steps += [(name, tuple(x.shape)) for name, x in (("Q", inputs.q), ("K", inputs.k), ("V", inputs.v))]
    rules = inputs.rules
    applied = [("QKᵀ", True), ("scale", True), ("softcap", rules.softcap is not None)]
    applied += [("bias", rules.bias is not None), ("mask", rules.mask.hides_anything), ("softmax", True)]
    steps += [(name, weights) for name, is_applied in applied if is_applied]
    features = inputs.v.shape[-1]
    steps.append(("weights · V", (batch, heads, queries, features)))
    if inputs.output_projection is not None and inputs.index.has_every_head:
        steps.append(("combine heads", (batch, queries, heads * features)))
        steps.append(("output projection", (batch, queries, inputs.output_projection.weight.shape[0])))
    return tuple(StepShape(name, shape) for name, shape in steps)


def _projection_shapes(module: ModuleInputs) -> list[tuple[str, tuple[int, ...]]]:
    given = (("queries", module.queries), ("keys", module.keys), ("values", module.values))
    steps = [(name, tuple(x.shape)) for name, x in given]
    for name, x, layer in (
        ("linear Q", module.queries, module.W_q),
        ("linear K", module.keys, module.W_k),
        ("linear V", module.values, module.W_v),
    ):
        steps.append((name, (*x.shape[:2], layer.weight.shape[0])))
    return steps


@contextmanager
def resource_errors(device: str) -> Iterator[None]:
    """Turn memory that has run out into a :class:`ResourceError`."""
    hint = "select less with --batch, --head or --query, or use a smaller --dtype"
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        found = f"{device}: out of memory{_asked_for(error)}"
        raise ResourceError(f"{found}; expected room for all tensors", hint) from error


def _asked_for(error: Exception) -> str:
    """How much was needed at once, where PyTorch says so."""
    found = ASKED_FOR.search(str(error))
    return "" if found is None else f", {bytes_text(int(found[1]))} more were needed at once"
