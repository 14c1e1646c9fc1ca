"""One row or one cell of attention, told step by step with its numbers in float64."""

from __future__ import annotations

import torch

from attn_cli.attention.types import AttentionInputs, dtype_name
from attn_cli.errors import in_file
from attn_cli.explanation.faults import Where, row_findings
from attn_cli.explanation.kernel import KernelOptions, run_kernel
from attn_cli.explanation.one_row import cut_row
from attn_cli.explanation.row import cell_of, row_of
from attn_cli.explanation.steps import row_steps
from attn_cli.explanation.types import Explanation, Wanted
from attn_cli.explanation.words import words_of
from attn_cli.inputs.types import LoadedCall
from attn_cli.inspection.stream.threads import one_thread_each
from attn_cli.pipeline import DTYPES, check_mask_value, resource_errors

__all__ = ["Explanation", "KernelOptions", "Wanted", "explain"]


def explain(call: LoadedCall, wanted: Wanted, kernel: KernelOptions | None = None) -> Explanation:
    """Tell one row of a call, or one cell of it.

    Every number is computed in float64 from the numbers of the file, by the textbook's functions. Only this row is
    computed, and K and V of its head are read a block of keys at a time.

    Args:
        call: as it was loaded, whole.
        wanted: which row or cell; the row lies in the call.
        kernel: what to run the row with, for the comparison.

    Raises:
        InputError: where the key does not lie in the call.
        UsageError, InputError: where the mask value fits neither the call's dtype nor the kernel's.
        BackendError, ResourceError: where the kernel that was asked for cannot run.
    """
    shape, key = _shape(call), wanted.key
    if key is not None and not 0 <= key < shape[3]:
        raise in_file(call.source, f"--key {key}", f"expected 0 to {shape[3] - 1}, of {shape[3]} keys")
    kernel = kernel or KernelOptions()
    dtypes = (call.inputs.dtype, DTYPES.get(kernel.dtype or "", call.inputs.dtype))
    check_mask_value(call, max(dtypes, key=lambda dtype: torch.finfo(dtype).max))
    batch, head, query = wanted.batch, wanted.head, wanted.query
    with resource_errors("cpu"), torch.no_grad():
        row = cut_row(call, batch, head, query)
        kv_heads = _kv_heads(call)
        kv_head = None if kv_heads is None else head // (shape[1] // kv_heads)
        with one_thread_each():  # a block of one row is too little to share out
            steps = row_steps(row, batch)
        told = row_of(row, steps, wanted.top)
        cell = None if key is None else cell_of(row, steps, key, wanted.top)
        ran = run_kernel(call, row, steps.output, kernel)
        found = row_findings(row, steps, Where(batch, head, kv_head, query), ran)
    mask, head_dim = call.inputs.rules.mask, steps.query.shape[0]
    return Explanation(
        call=call.record,
        batch=batch,
        head=head,
        query=query,
        kv_head=kv_head,
        place=int(mask.places[query]),
        shape=shape,
        kv_heads=kv_heads,
        head_dim=head_dim,
        value_dim=len(told.output),
        dtype=dtype_name(call.inputs.dtype),
        ties_queries_to_keys=mask.causal or mask.window is not None or shape[2] == shape[3],
        words=words_of(told, head_dim, shape[3]),
        row=told,
        cell=cell,
        kernel=ran,
        findings=found,
    )


def _shape(call: LoadedCall) -> tuple[int, int, int, int]:
    """``(B, Hq, Sq, Sk)`` of the whole call, with the heads that a recording left out."""
    inputs = call.inputs
    if isinstance(inputs, AttentionInputs):
        batch, _, queries, keys = inputs.weights_shape
        return batch, inputs.index.total_heads, queries, keys
    batch, queries, _ = inputs.queries.shape
    return batch, inputs.num_heads, queries, inputs.keys.shape[1]


def _kv_heads(call: LoadedCall) -> int | None:
    """Hkv; None where a recording left heads out, so that it is not known."""
    inputs = call.inputs
    if not isinstance(inputs, AttentionInputs):
        return inputs.num_kv_heads
    return inputs.k.shape[1] if inputs.index.has_every_head else None
