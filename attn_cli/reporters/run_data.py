"""What ``attn run`` and ``attn demo`` tell in JSON, built from their result."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from attn_cli.benchmark.timing import median_and_iqr
from attn_cli.inputs.types import CallRecord, TensorInfo
from attn_cli.inspection.metrics import METRICS, PAIR_METRICS, Metric, PairMetric
from attn_cli.inspection.types import Verification
from attn_cli.inspection.worth import WorthLooking
from attn_cli.reporters.call_data import convention_entries, finding_entry
from attn_cli.reporters.inspection_data import head_entries, verification_entry
from attn_cli.results import CallResult, RunResult

Entry = dict[str, Any]


def run_data(result: RunResult) -> Entry:
    """The ``data`` of the document; numbers that are not finite are still in it.

    With one call ``shapes``, ``timing_ms``, ``verification`` and ``output`` are that call's. With several they are
    the first call's, the sums, the worst, and None; ``layers`` has those of each.
    """
    first, is_single = result.calls[0], len(result.calls) == 1
    data: Entry = {
        "input": _input(result),
        "device": first.device,
        "dtype": first.dtype,
        "backend": _backend(first),
        "shapes": _shapes(first),
        "timing_ms": _timing(first) if is_single else _summed_timing(result),
        "verification": _worst_verification(result),
        "metrics": _definitions(),
        "heads": [head for call in result.calls for head in _heads(call)],
        "worth_looking_at": [_worth(result, one) for one in result.worth_looking_at],
        "layers": [_layer(call) for call in result.calls],
        "output": _output(first) if is_single else None,
    }
    for name in ("weights", "sink_weights", "similarity"):
        values = _asked_for(result, name)
        if values is not None:
            data[name] = values
    if all(call.inspection.pictures.zoom is not None for call in result.calls):
        data["zoom"] = _of_each(result, [_zoom(call) for call in result.calls])
    return data


def _definitions() -> Entry:
    """What each metric is, by its name."""
    defined: tuple[Metric | PairMetric, ...] = (*METRICS, *PAIR_METRICS)
    return {one.name: {"unit": one.unit, "definition": one.definition, "source": one.source} for one in defined}


def finding_entries(result: RunResult) -> list[Entry]:
    """The findings of all calls, in the contract's form."""
    return [finding_entry(finding, call.call) for call in result.calls for finding in call.inspection.findings]


def _input(result: RunResult) -> Entry:
    first = result.calls[0].call
    infos = [(call.call.layer, info) for call in result.calls for info in call.call.tensors]
    selection = first.selection
    return {
        "file": first.source,
        "tensors": [_tensor(info) | {"role": info.role, "layer": layer} for layer, info in infos],
        "shapes": {info.name: list(info.shape) for _, info in infos},
        "dtypes": {info.name: info.dtype for _, info in infos},
        "unused": [_tensor(info) for info in first.unused],
        "conventions": convention_entries(first),
        "selection": {"batch": selection.batch, "heads": selection.heads, "queries": selection.queries},
    }


def _tensor(info: TensorInfo) -> Entry:
    return {"name": info.name, "shape": list(info.shape), "dtype": info.dtype}


def _backend(call: CallResult) -> Entry:
    return {
        "requested": call.backend_requested,
        "ran": call.backend_ran,
        "kernel": call.kernel,
        "note": call.backend_note,
    }


def _shapes(call: CallResult) -> list[Entry]:
    return [{"step": one.step, "shape": list(one.shape)} for one in call.shapes]


def _timing(call: CallResult) -> Entry:
    timing = call.timing
    median, iqr = median_and_iqr(timing.attention)
    attention = {"median": median, "iqr": iqr, "runs": len(timing.attention)}
    return {
        "load": timing.load,
        "to_device": timing.to_device,
        "attention": attention,
        "inspection": timing.inspection,
    }


def _summed_timing(result: RunResult) -> Entry:
    """Sums over the calls; a spread cannot be summed. ``runs`` counts all timed runs."""
    timings = [_timing(call) for call in result.calls]
    summed: Entry = {name: sum(timing[name] for timing in timings) for name in ("load", "to_device", "inspection")}
    attention = [timing["attention"] for timing in timings]
    medians, runs = sum(one["median"] for one in attention), sum(one["runs"] for one in attention)
    return summed | {"attention": {"median": medians, "iqr": None, "runs": runs}}


def _verification(call: CallResult) -> Entry:
    return verification_entry(call.verification) | {"layer": call.call.layer}


def _worst_verification(result: RunResult) -> Entry:
    """That with values finite in one output only, else that whose difference is most beyond its tolerance."""
    return _verification(max(result.calls, key=lambda call: _badness(call.verification)))


def _badness(verification: Verification) -> tuple[int, float, float]:
    error, tolerance = verification.max_abs_error, verification.tolerance
    if math.isnan(error):
        return verification.disagreements, -1.0, -1.0
    beyond = error / tolerance if tolerance > 0 else math.inf if error > 0 else 0.0
    return verification.disagreements, beyond, error


def _heads(call: CallResult) -> Iterator[Entry]:
    return (_place(call.call) | head for head in head_entries(call.inspection))


def _place(call: CallRecord) -> Entry:
    """Which call of the file an entry belongs to."""
    return {"layer": call.layer, "prefix": call.prefix, "module": call.module, "step": call.step}


def _worth(result: RunResult, one: WorthLooking) -> Entry:
    """A head that is worth looking at; prefix and step are None where all of several calls are meant."""
    module = result.modules[one.module]
    place = _place(module.calls[one.call or 0].call)
    if one.call is None and len(module.calls) > 1:
        place |= {"prefix": None, "step": None}
    told = {name: getattr(one, name) for name in ("batch", "head", "metric", "value", "threshold", "count", "why")}
    return {"kind": one.kind, **place, **told}


def _layer(call: CallResult) -> Entry:
    return {
        **_place(call.call),
        "backend": _backend(call),
        "shapes": _shapes(call),
        "timing_ms": _timing(call),
        "verification": _verification(call),
        "output": _output(call),
    }


def _output(call: CallResult) -> Entry:
    """The projected output in numbers where there is one, else the heads'. The deviation is that of all its numbers."""
    summary = call.summary
    numbers = {"mean": summary.mean, "std": summary.std, "min": summary.min, "max": summary.max}
    return {"of": summary.of, "shape": list(summary.shape), **numbers}


def _asked_for(result: RunResult, name: str) -> Any:
    """A tensor of the inspection as nested lists; with several calls a list of them, each with its layer and prefix.

    Calls without one, as those without sinks, are left out; None where no call has one.
    """
    tensors = [getattr(call.inspection, name) for call in result.calls]
    return _of_each(result, [None if tensor is None else tensor.tolist() for tensor in tensors])


def _of_each(result: RunResult, values: list[Any]) -> Any:
    """What a single call has; with several calls a list of what each has that has something."""
    if len(values) == 1:
        return values[0]
    told = [
        {"layer": call.call.layer, "prefix": call.call.prefix, "values": own}
        for call, own in zip(result.calls, values, strict=True)
        if own is not None
    ]
    return told or None


def _zoom(call: CallResult) -> Entry:
    """The window that was asked for: its weights, and where each row and column of them lies in the whole call."""
    pictures = call.inspection.pictures
    zoom, queries, columns = pictures.zoom, pictures.queries, pictures.weights.shape[3]
    assert zoom is not None  # called only where there is one, and then its rows are named
    assert queries is not None
    return {
        "first_query": zoom.first_query,
        "query_stop": zoom.query_stop,
        "first_key": zoom.first_key,
        "key_stop": zoom.key_stop,
        "query_pool": pictures.query_pool,
        "key_pool": pictures.key_pool,
        "queries": queries[:: pictures.query_pool].tolist(),
        "keys": [pictures.first_key + column * pictures.key_pool for column in range(columns)],
        "weights": pictures.weights.tolist(),
        "sink_weights": None if pictures.sink is None else pictures.sink.tolist(),
    }
