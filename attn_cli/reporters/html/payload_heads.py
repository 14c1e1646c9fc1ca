"""What a page tells of each head of a call: its numbers, its picture and its weights one by one."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from attn_cli.inspection.coarser import coarser
from attn_cli.inspection.metrics import METRICS
from attn_cli.inspection.types import Inspection, Pictures, WeightWindow
from attn_cli.reporters.html.blobs import blob, codes, float_blob, window_blob
from attn_cli.reporters.html.budget import LEAST, Level
from attn_cli.reporters.inspection_data import head_entries

Entry = dict[str, Any]
DIGITS = 7


def all_pictures(inspection: Inspection) -> Pictures:
    """The pictures of all that was inspected, as they were computed."""
    return inspection.pictures if inspection.detail is None else inspection.detail.pictures


def picture_of(inspection: Inspection, level: Level) -> Pictures:
    """The picture of all that was inspected, in as many cells as the level has."""
    pictures = all_pictures(inspection)
    rows, columns = pictures.weights.shape[2:]
    return coarser(pictures, _cells(rows, level), _cells(columns, level))


def _cells(cells: int, level: Level) -> int:
    return max(min(cells, LEAST), math.ceil(cells / level.shrink))


def heads_of(inspection: Inspection, picture: Pictures, level: Level) -> Iterator[Entry]:
    """Every head of every batch item; all numbers in it are positions in the call's lists."""
    cells, sinks = _all_codes(picture)
    rows = {query: row for row, query in enumerate(inspection.index.queries.tolist())}
    heads = len(inspection.index.heads)
    for place, entry in enumerate(head_entries(inspection)):
        b, h = divmod(place, heads)
        yield {
            "batch": b,
            "head": h,
            "label": entry["label"],
            "metrics": [_rounded(entry[metric.name]) for metric in METRICS],
            "top": [[rows[pair["query"]], pair["key"], _rounded(pair["weight"])] for pair in entry["top"]],
            "cells": blob(cells[b, h].numpy().tobytes()),
            "sink": None if sinks is None else blob(sinks[b, h].numpy().tobytes()),
            **_exact(_windows(inspection, b, h, level)),
        }


def _all_codes(picture: Pictures) -> tuple[Tensor, Tensor | None]:
    """The pictures in 8 bits ``(B, Hq, R, C)``, and the sinks' columns ``(B, Hq, R)``."""
    cells = codes(picture.weights, picture.visible).contiguous()
    return cells, None if picture.sink is None else codes(picture.sink, torch.tensor(True)).contiguous()


def exact_kind(inspection: Inspection, level: Level) -> str:
    """``"all"``, ``"windows"`` or ``"none"``: which weights stand one by one."""
    kinds = {
        window.kind
        for b, heads in enumerate(inspection.labels)
        for h in range(len(heads))
        for window in _windows(inspection, b, h, level)
    }
    return "none" if not kinds else "all" if kinds == {"whole"} else "windows"


def _windows(inspection: Inspection, b: int, h: int, level: Level) -> Sequence[WeightWindow]:
    """The windows of a head that the level has room for."""
    if inspection.detail is None or level.windows == "none":
        return ()
    windows = inspection.detail.windows[b][h]
    if level.windows == "all":
        return windows
    return [window for window in windows if window.kind == "whole"] or windows[:1]


def _exact(windows: Sequence[WeightWindow]) -> Entry:
    """All weights where they are there, else the windows."""
    if windows and windows[0].kind == "whole":
        whole = windows[0]
        return {
            "exact": window_blob(whole),
            "lse": float_blob(whole.log_total),
            "sink_exact": None if whole.sink is None else float_blob(whole.sink),
            "windows": [],
        }
    return {"exact": None, "lse": None, "sink_exact": None, "windows": [_window(window) for window in windows]}


def _window(window: WeightWindow) -> Entry:
    rows, columns = window.weights.shape
    return {
        "kind": window.kind,
        "query": window.first_row,
        "key": window.first_key,
        "rows": rows,
        "columns": columns,
        "weights": window_blob(window),
        "lse": float_blob(window.log_total),
        "sink": None if window.sink is None else float_blob(window.sink),
    }


def _rounded(value: float | int | None) -> float | int | None:
    """A float32's digits are enough for a page."""
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value
