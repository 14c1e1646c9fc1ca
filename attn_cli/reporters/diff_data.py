"""What ``attn diff`` tells in JSON, built from its result."""

from __future__ import annotations

import math

from attn_cli.differences.types import (
    CallDifference,
    Compared,
    DiffResult,
    Divergence,
    HeadDifference,
    Measured,
    Ran,
    SideRecord,
    TensorDifference,
    Tolerance,
)
from attn_cli.inputs.types import CallRecord, TensorInfo
from attn_cli.inspection.types import Finding
from attn_cli.reporters.call_data import PLACES, Entry, convention_entries, finding_entry


def diff_data(result: DiffResult) -> Entry:
    """The ``data`` of the document; numbers that are not finite are still in it."""
    first = result.calls[0] if result.calls else None
    return {
        "left": _side(result.left, *((first.left_ran, first.left) if first else (None, None))),
        "right": _side(result.right, *((first.right_ran, first.right) if first else (None, None))),
        "tolerance": _tolerance(_overall(result)),
        "tensors": [_tensor(tensor) for tensor in result.tensors],
        "only_left": [_info(info) for info in result.only_left],
        "only_right": [_info(info) for info in result.only_right],
        "calls": [_call(call) for call in result.calls],
        "calls_only_left": list(result.calls_only_left),
        "calls_only_right": list(result.calls_only_right),
        "notes": list(result.notes),
        "within": result.within,
    }


def diff_findings(result: DiffResult) -> list[Entry]:
    """What differs, in the contract's form."""
    return [_finding(finding, call) for call, finding in result.findings]


def _finding(finding: Finding, call: CallRecord | None) -> Entry:
    if call is not None:
        return finding_entry(finding, call)
    entry: Entry = {"code": finding.code, "severity": finding.severity, "message": finding.message}
    known = {name: getattr(finding.place, name) for name in PLACES}
    known |= {"count": finding.count, "hint": finding.hint}
    return entry | {name: value for name, value in known.items() if value is not None}


def _side(side: SideRecord, ran: Ran | None, call: CallRecord | None) -> Entry:
    """The file, and how its first call was read and run."""
    return {
        "file": side.file,
        "device": None if ran is None else ran.device,
        "dtype": None if ran is None else ran.dtype,
        "backend": None if ran is None else _backend(ran),
        "conventions": [] if call is None else convention_entries(call),
    }


def _backend(ran: Ran) -> Entry:
    return {"requested": ran.requested, "ran": ran.ran, "kernel": ran.kernel, "note": ran.note}


def _overall(result: DiffResult) -> Tolerance | None:
    """That of the first call, else of the first tensor."""
    parts = [part.tolerance for call in result.calls for part in call.parts]
    parts += [tensor.tolerance for tensor in result.tensors if tensor.tolerance is not None]
    return parts[0] if parts else None


def _tolerance(tolerance: Tolerance | None) -> Entry | None:
    if tolerance is None:
        return None
    return {"rtol": tolerance.rtol, "atol": tolerance.atol, "dtype": tolerance.dtype}


def _info(info: TensorInfo) -> Entry:
    return {"name": info.name, "shape": list(info.shape), "dtype": info.dtype}


def _numbers(measured: Measured) -> Entry:
    """How far apart, how many values do not pass, and the first row with one of them."""
    return {
        "max_abs_error": measured.max_abs_error,
        "max_rel_error": measured.max_rel_error,
        "max_ulps": measured.max_ulps,
        "cosine": measured.cosine,
        "needed_atol": measured.needed_atol,
        "values": measured.values,
        "beyond": measured.beyond,
        "finite_in_one": measured.finite_in_one,
        "unlike": measured.unlike,
        "nonfinite_both": measured.nonfinite_both,
        "first_row": measured.first_row,
    }


NO_NUMBERS: Entry = dict.fromkeys(_numbers(Measured(math.nan, math.nan, math.nan, math.nan, 0, 0, 0, 0, 0, None, None)))


def _tensor(tensor: TensorDifference) -> Entry:
    measured, compared = tensor.measured, tensor.compared
    worst = None
    if measured is not None and measured.worst is not None and tensor.worst_index is not None:
        values = {"left": measured.worst.left, "right": measured.worst.right}
        worst = {"index": list(tensor.worst_index), **dict(tensor.worst_place), **values}
    heads = None if compared is None else [_head(compared, head) for head in compared.heads]
    return {
        "name": tensor.name,
        "right_name": tensor.right.name,
        "role": tensor.role,
        "axes": list(tensor.axes),
        "left": {"shape": list(tensor.left.shape), "dtype": tensor.left.dtype},
        "right": {"shape": list(tensor.right.shape), "dtype": tensor.right.dtype},
        "tolerance": _tolerance(tensor.tolerance),
        **(NO_NUMBERS if measured is None else _numbers(measured)),
        "worst": worst,
        "heads": heads,
        "within": tensor.within,
    }


def _head(compared: Compared, head: HeadDifference) -> Entry:
    """One head of outputs or of weights."""
    return {
        "batch": head.batch,
        "head": head.head,
        **_numbers(head.measured),
        **_divergence(head.divergence),
        "worst": _worst(compared, head.measured),
        "within": head.measured.within,
    }


def _divergence(divergence: Divergence | None) -> Entry:
    if divergence is None:
        return {"js_divergence": None, "js_largest": None, "js_largest_row": None}
    return {
        "js_divergence": divergence.mean,
        "js_largest": divergence.largest,
        "js_largest_row": divergence.row,
    }


def _worst(compared: Compared, measured: Measured) -> Entry | None:
    worst = measured.worst
    if worst is None:
        return None
    return {"query": worst.row, compared.columns: worst.column, "left": worst.left, "right": worst.right}


def _call(call: CallDifference) -> Entry:
    output, weights = call.output, call.weights
    return {
        "layer": call.left.layer,
        "prefix": call.left.prefix,
        "right_prefix": call.right.prefix,
        "left": None if call.left_ran is None else _ran(call.left_ran),
        "right": None if call.right_ran is None else _ran(call.right_ran),
        "output_tolerance": None if output is None else _tolerance(output.tolerance),
        "weights_tolerance": None if weights is None else _tolerance(weights.tolerance),
        "heads": _call_heads(output, weights),
        "reason": call.reason,
        "notes": list(call.notes),
        "within": call.within,
    }


def _ran(ran: Ran) -> Entry:
    return {"device": ran.device, "dtype": ran.dtype, "backend": _backend(ran)}


def _call_heads(output: Compared | None, weights: Compared | None) -> list[Entry]:
    """A head's output, and its weights beside it where they were compared."""
    some = output or weights
    entries: list[Entry] = []
    for number, head in enumerate(() if some is None else some.heads):
        of_weights = None if weights is None else weights.heads[number]
        of_output = None if output is None else output.heads[number]
        numbers = NO_NUMBERS if of_output is None else _numbers(of_output.measured)
        worst = None if output is None or of_output is None else _worst(output, of_output.measured)
        entry = {"batch": head.batch, "head": head.head, **numbers}
        entry |= _divergence(None if of_weights is None else of_weights.divergence)
        entry |= {"worst": worst, "weights": None}
        if weights is not None and of_weights is not None:
            entry["weights"] = {
                **_numbers(of_weights.measured),
                "worst": _worst(weights, of_weights.measured),
                "within": of_weights.measured.within,
            }
        entry["within"] = all(one is None or one.measured.within for one in (of_output, of_weights))
        entries.append(entry)
    return entries
