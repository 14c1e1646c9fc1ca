"""The JSON Schema of the data that ``attn bench --json`` and ``--save`` hold. Free of torch."""

from __future__ import annotations

from attn_cli.reporters.schema_parts import (
    COUNT,
    COUNT_OR_NULL,
    MILLISECONDS,
    NUMBER_OR_NULL,
    SHAPE,
    TEXT,
    TEXT_OR_NULL,
    Schema,
    list_of,
    object_of,
    or_null,
    ref,
    said,
)

_SIZE: Schema = {"type": "integer", "minimum": 1}
_POSITIVE: Schema = {"type": "number", "exclusiveMinimum": 0}
_FLAG: Schema = {"type": "boolean"}
_STATUS: Schema = {"enum": ["ok", "wrong", "refused", "skipped", "failed", "interrupted"]}
_VERDICT: Schema = {"enum": ["FASTER", "SLOWER", "SAME", "UNCLEAR"]}
_MODE: Schema = {"enum": ["forward", "backward"]}


def bench_definitions() -> dict[str, Schema]:
    """The parts of the document, by their names; ``data`` is the whole of its data."""
    return {
        "data": _data(),
        "environment": _environment(),
        "peaks": _peaks(),
        "result": _result(),
        "ms": _milliseconds(),
        "growth": _growth(),
        "comparison": _comparison(),
    }


def _data() -> Schema:
    return object_of(
        environment=ref("environment"),
        peaks=ref("peaks"),
        results=said(list_of(ref("result")), "In the order they were asked for."),
        growth=said(list_of(ref("growth")), "One entry a backend that was timed at several lengths."),
        warnings=list_of(object_of(message=TEXT, remedy=TEXT)),
        comparison=said(or_null(ref("comparison")), "null without --baseline."),
        interrupted=said(_FLAG, "true where not everything was measured."),
    )


def _environment() -> Schema:
    value: Schema = {"type": ["string", "number", "boolean", "null"]}
    known = {"type": "object", "additionalProperties": value}
    return said(known, "Device, driver, PyTorch, threads, modes; null is unknown.")


def _peaks() -> Schema:
    flops: Schema = {"type": "object", "additionalProperties": _POSITIVE}
    return object_of(
        flops_per_s=said(flops, "By dtype, of a large matrix product in the same run."),
        bytes_per_s=said(or_null(_POSITIVE), "Of a large copy in the same run, read and written bytes counted."),
    )


def _case() -> dict[str, Schema]:
    sizes = dict.fromkeys(("batch", "heads", "kv_heads", "queries", "keys", "head_dim"), _SIZE)
    return {**sizes, "dtype": TEXT, "causal": _FLAG, "mode": _MODE}


def _result() -> Schema:
    measured = {
        "kernel": said(TEXT_OR_NULL, "What really ran."),
        "first_ms": said(NUMBER_OR_NULL, "The first run, with what is made or compiled once."),
        "ms": said(or_null(ref("ms")), "null where nothing was timed."),
        "yardstick_ms": said(NUMBER_OR_NULL, "A fixed work in the same rounds, its median; null where there is none."),
        "tflops": said(NUMBER_OR_NULL, "10¹² floating-point operations a second at the median."),
        "bytes_per_s": NUMBER_OR_NULL,
        "intensity": said(NUMBER_OR_NULL, "Floating-point operations a byte."),
        "share_of_peak": said(NUMBER_OR_NULL, "Of the measured roofline."),
        "peak_memory_bytes": said(COUNT_OR_NULL, "Beyond the inputs, in a pass of its own."),
        "max_abs_error": said(NUMBER_OR_NULL, "Largest difference from float64 on the same inputs."),
        "tolerance": said(NUMBER_OR_NULL, "What the dtype explains of it, in the row where it lies."),
        "share_of_tolerance": said(
            NUMBER_OR_NULL,
            "Largest difference over what the dtype explains in its own row, of all rows; wrong above 1.",
        ),
        "checked_rows": said(COUNT_OR_NULL, "Query rows of each head that were compared."),
        "flops_formula": TEXT,
        "bytes_formula": TEXT,
    }
    reason = said(TEXT_OR_NULL, "Why the status is not ok.")
    return object_of(backend=TEXT, status=_STATUS, reason=reason, **_case(), **measured)


def _milliseconds() -> Schema:
    samples: Schema = {"type": "array", "items": MILLISECONDS, "minItems": 1}
    return object_of(
        median=MILLISECONDS,
        iqr=said(MILLISECONDS, "Distance between the quartiles; 0 for one sample."),
        min=MILLISECONDS,
        samples=said(samples, "Every timed run, in the order they were taken."),
    )


def _growth() -> Schema:
    exponent = said(NUMBER_OR_NULL, "Slope of log against log: the quantity grows with length ** exponent.")
    return object_of(
        backend=TEXT,
        **_case(),
        lengths=said(SHAPE, "Of keys, ascending. The case above is the longest."),
        median_ms=list_of(NUMBER_OR_NULL),
        memory_bytes=list_of(COUNT_OR_NULL),
        time_exponent=exponent,
        memory_exponent=exponent,
        queries_grow=said(_FLAG, "Whether there are as many queries as keys at each length; else those of the case."),
    )


def _comparison() -> Schema:
    entry = object_of(
        backend=TEXT,
        **_case(),
        verdict=_VERDICT,
        ratio=said(NUMBER_OR_NULL, "New median over old, or that over their runs' yardsticks where it is nearer to 1."),
        low=said(NUMBER_OR_NULL, "Lower end of its 99 % confidence interval."),
        high=said(NUMBER_OR_NULL, "Upper end."),
        margin=said(NUMBER_OR_NULL, "How far from 1 still counts as the same."),
        yardstick_ratio=said(NUMBER_OR_NULL, "New yardstick over old: below 1 the machine was faster this time."),
    )
    lost = object_of(backend=TEXT, **_case(), status=_STATUS, reason=TEXT_OR_NULL)
    return object_of(
        file=TEXT,
        entries=list_of(entry),
        lost=said(list_of(lost), "What was right in the baseline, was asked for again, and is not right now."),
        missing=said(COUNT, "Other results that only one of the two has."),
        notes=said(list_of(TEXT), "Settings that differ but may."),
    )
