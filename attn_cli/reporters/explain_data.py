"""What ``attn explain`` tells in JSON, built from its record; every number as it was computed."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from attn_cli.explanation.types import Cause, Cell, Dot, Explanation, Extent, Part, Row
from attn_cli.reporters.call_data import convention_entries

Entry = dict[str, Any]


def explain_data(told: Explanation) -> Entry:
    """The ``data`` of the document; numbers that are not finite are still in it."""
    call = told.call
    return {
        "input": {
            "file": call.source,
            "layer": call.layer,
            "prefix": call.prefix,
            "dtype": told.dtype,
            "shape": list(told.shape),
            "kv_heads": told.kv_heads,
            "head_dim": told.head_dim,
            "value_dim": told.value_dim,
            "conventions": convention_entries(call),
        },
        "computed_in": "float64",
        "batch": told.batch,
        "head": told.head,
        "kv_head": told.kv_head,
        "query": told.query,
        "query_token": told.query_token,
        "place": told.place,
        "key": None if told.cell is None else told.cell.key,
        "key_token": None if told.cell is None else told.token(told.cell.key),
        "steps": [_step(told, stage) for stage in range(len(told.words))],
        "row": _row(told),
        "cell": None if told.cell is None else _cell(told.cell),
        "kernel": asdict(told.kernel),
    }


def _step(told: Explanation, number: int) -> Entry:
    """A step in words and with its numbers: the cell's where there is one, else the row's."""
    words = told.words[number]
    numbers = _row_step(told.row, words.stage) if told.cell is None else _cell_step(told.row, told.cell, words.stage)
    said = {"step": words.stage, "title": words.title, "equation": words.equation, "sentence": words.sentence}
    return said | {"values": numbers}


def _cell_step(row: Row, cell: Cell, stage: str) -> Entry:
    softmax = {"logit": cell.logit, "exponential": cell.exponential, "weight": cell.weight}
    of: dict[str, Entry] = {
        "scores": {"score": cell.score.total},
        "scale": {"scale": row.scale, "scaled": cell.scaled},
        "softcap": {"softcap": row.softcap, "capped": cell.capped},
        "bias": {"bias": cell.bias, "biased": cell.biased},
        "mask": {"visible": int(cell.is_visible)},
        "hide": {"logit": cell.logit},
        "softmax": softmax | _bottom(row),
        "mix": _part_numbers(cell.part, row.output_norm),
        "projection": {} if cell.projected is None else _part_numbers(cell.projected, row.projected_norm),
    }
    return of[stage]


def _part_numbers(part: Part, norm: float | None) -> Entry:
    return {
        "value_norm": part.own_norm,
        "added_norm": part.norm,
        "along": part.along.total,
        "whole_norm": norm,
        "share": part.share,
    }


def _row_step(row: Row, stage: str) -> Entry:
    of: dict[str, Entry] = {
        "scores": _extent_numbers(row.scores),
        "scale": {"scale": row.scale} | _extent_numbers(row.scaled),
        "softcap": {"softcap": row.softcap} | _extent_numbers(row.capped),
        "bias": _extent_numbers(row.biased),
        "mask": {"visible": row.visible},
        "hide": {"visible": row.visible},
        "softmax": _bottom(row) | {"lse": row.lse, "entropy": row.entropy, "effective_keys": row.effective_keys},
        "mix": {"whole_norm": row.output_norm},
        "projection": {"whole_norm": row.projected_norm},
    }
    return of[stage]


def _bottom(row: Row) -> Entry:
    numbers = {"max": row.reference, "exponentials": row.exponentials, "denominator": row.denominator}
    sink = {"sink": row.sink, "sink_exponential": row.sink_exponential, "sink_weight": row.sink_weight}
    return numbers if row.sink is None else numbers | sink


def _extent_numbers(extent: Extent | None) -> Entry:
    return {} if extent is None else {"smallest": extent.least, "largest": extent.most}


def _row(told: Explanation) -> Entry:
    row = told.row
    largest = None if row.largest is None else {"logit": row.largest[0], "key": row.largest[1]}
    return {
        "visible": row.visible,
        "hidden": told.shape[3] - row.visible,
        "hidden_by": [_cause(cause) | {"count": cause.count} for cause in row.causes],
        "max_logit": largest,
        "denominator": row.denominator,
        "lse": row.lse,
        "sink": row.sink,
        "sink_weight": row.sink_weight,
        "mask_value": row.mask_value,
        "hidden_weight": row.hidden_weight,
        "entropy": row.entropy,
        "effective_keys": row.effective_keys,
        "top": [_top(told, number) for number in range(len(row.top))],
        "others": row.others,
        "output": list(row.output),
        "output_norm": row.output_norm,
        "projected_norm": row.projected_norm,
    }


def _top(told: Explanation, number: int) -> Entry:
    one = told.row.top[number]
    return {
        "key": one.key,
        "token": told.token(one.key),
        "visible": one.is_visible,
        "logit": one.logit,
        "weight": one.weight,
        "running": one.running,
        "along": one.along,
        "share": one.share,
    }


def _cause(cause: Cause) -> Entry:
    return {"rule": cause.kind, "sentence": cause.sentence}


def _cell(cell: Cell) -> Entry:
    return {
        "visible": cell.is_visible,
        "hidden_by": [_cause(cause) for cause in cell.hidden_by],
        "score": _dot(cell.score, "q", "k"),
        "scaled": cell.scaled,
        "capped": cell.capped,
        "bias": cell.bias,
        "biased": cell.biased,
        "logit": cell.logit,
        "exponential": cell.exponential,
        "weight": cell.weight,
        "part": _part(cell.part),
        "projected": None if cell.projected is None else _part(cell.projected),
    }


def _part(part: Part) -> Entry:
    along = _dot(part.along, "added", "whole")
    for entry, value in zip(along["terms"], part.values, strict=True):
        entry["value"] = value
    return {"value_norm": part.own_norm, "added_norm": part.norm, "along": along, "share": part.share}


def _dot(dot: Dot, first: str, second: str) -> Entry:
    terms = [
        {"feature": term.feature, first: term.first, second: term.second, "product": term.product} for term in dot.terms
    ]
    return {"terms": terms, "others": dot.others, "rest": dot.rest, "total": dot.total}
