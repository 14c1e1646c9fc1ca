"""What a page tells of each head of a call: its numbers, its picture and its weights one by one."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from attn_cli.inspection.budget import LEAST, SMALL_PICTURE
from attn_cli.inspection.coarser import coarser
from attn_cli.inspection.metrics import METRICS
from attn_cli.inspection.types import Inspection, Pictures, WeightWindow
from attn_cli.reporters.html.blobs import blob, codes, float_blob, signed_code_blob, window_blobs
from attn_cli.reporters.html.budget import Level
from attn_cli.reporters.html.entries import rounded
from attn_cli.reporters.inspection_data import head_entries

Entry = dict[str, Any]
FLOAT_DIGITS = 9  # tell any two 32-bit floats apart
THUMB = 64  # cells of a side of a small picture


def all_pictures(inspection: Inspection) -> Pictures:
    """The pictures of all that was inspected, as they were computed."""
    return inspection.pictures if inspection.detail is None else inspection.detail.pictures


def picture_of(inspection: Inspection, level: Level) -> Pictures:
    """The picture of all that was inspected, in as many cells as the level has."""
    pictures = all_pictures(inspection)
    rows, columns = pictures.weights.shape[2:]
    return coarser(pictures, _cells(rows, level), _cells(columns, level))


def thumb_of(picture: Pictures) -> Pictures | None:
    """The small picture that stands for a head among the others, or None where the picture itself is small enough.

    A reader who only looks at all heads then unpacks no large picture.
    """
    rows, columns = picture.weights.shape[2:]
    return coarser(picture, THUMB, THUMB) if rows * columns > SMALL_PICTURE else None


def _cells(cells: int, level: Level) -> int:
    return max(min(cells, LEAST), math.ceil(cells / level.shrink))


def heads_of(inspection: Inspection, picture: Pictures, thumb: Pictures | None, level: Level) -> Iterator[Entry]:
    """Every head of every batch item; all numbers in it are positions in the call's lists."""
    cells, sinks = _all_codes(picture)
    small, small_sinks = (None, None) if thumb is None else _all_codes(thumb)
    rows = {query: row for row, query in enumerate(inspection.index.queries.tolist())}
    heads, scale = len(inspection.index.heads), apart_scale(picture)
    for place, entry in enumerate(head_entries(_with_read_pairs(inspection))):
        b, h = divmod(place, heads)
        windows = _windows(inspection, b, h, level)
        yield {
            "batch": b,
            "head": h,
            "label": entry["label"],
            "metrics": [rounded(entry[metric.name]) for metric in METRICS],
            "top": [
                [rows[pair["query"]], pair["key"], rounded(pair["weight"], FLOAT_DIGITS)]
                for pair in entry["top"][: level.pairs]
            ],
            "cells": blob(cells[b, h].numpy().tobytes()),
            "sink": None if sinks is None else blob(sinks[b, h].numpy().tobytes()),
            "thumb": None if small is None else blob(small[b, h].numpy().tobytes()),
            "thumb_sink": None if small_sinks is None else blob(small_sinks[b, h].numpy().tobytes()),
            "apart": _apart(picture, b, h, scale, windows),
            **_exact(windows),
        }


def _with_read_pairs(inspection: Inspection) -> Inspection:
    """The inspection with the weights of its strongest pairs as the windows have them."""
    top = None if inspection.detail is None else inspection.detail.top
    return inspection if top is None else replace(inspection, top=top)


def _all_codes(picture: Pictures) -> tuple[Tensor, Tensor | None]:
    """The pictures in 8 bits ``(B, Hq, R, C)``, and the sinks' columns ``(B, Hq, R)``."""
    cells = codes(picture.weights, picture.visible).contiguous()
    return cells, None if picture.sink is None else codes(picture.sink, torch.tensor(True)).contiguous()


def apart_scale(picture: Pictures) -> float:
    """The largest finite difference in any cell, which is told as 1; 1 where there is none."""
    if picture.apart is None:
        return 1.0
    sizes = picture.apart[picture.apart.isfinite()].abs()
    return float(sizes.max()) or 1.0 if len(sizes) else 1.0


def _apart(picture: Pictures, b: int, h: int, scale: float, windows: Sequence[WeightWindow]) -> Entry | None:
    """The differences from the other side as shares of the scale; None where all weights are given."""
    if picture.apart is None or _is_whole(windows):
        return None
    shares = picture.apart[b, h].double() / scale
    return signed_code_blob(torch.where(shares.isfinite(), shares, torch.nan))


def window_kinds(inspection: Inspection, level: Level) -> set[str]:
    """The kinds of windows whose weights stand one by one in every head; ``"whole"`` is all weights.

    ``"pair"`` is among them where every head's strongest pair lies in a window, of whatever kind it is.
    """
    rows = {query: row for row, query in enumerate(inspection.index.queries.tolist())}
    kinds: set[str] = set()
    top, has_pairs = inspection.top, True
    for b, heads in enumerate(inspection.labels):
        for h in range(len(heads)):
            windows = _windows(inspection, b, h, level)
            kinds |= {window.kind for window in windows}
            for query, key in zip(top.query[b, h, :1].tolist(), top.key[b, h, :1].tolist(), strict=True):
                has_pairs &= query < 0 or any(_holds(window, rows[query], key) for window in windows)
    if not kinds or kinds == {"whole"}:
        return kinds
    return kinds | {"pair"} if has_pairs else kinds - {"pair"}


def _holds(window: WeightWindow, row: int, key: int) -> bool:
    rows, keys = window.weights.shape
    return 0 <= row - window.first_row < rows and 0 <= key - window.first_key < keys


def _is_whole(windows: Sequence[WeightWindow]) -> bool:
    return bool(windows) and windows[0].kind == "whole"


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
    if _is_whole(windows):
        whole = windows[0]
        weights, hidden = window_blobs(whole)
        return {
            "exact": weights,
            "exact_hidden": hidden,
            "lse": None if whole.log_total is None else float_blob(whole.log_total),
            "sink_exact": None if whole.sink is None else float_blob(whole.sink),
            "windows": [],
        }
    told = dict.fromkeys(("exact", "exact_hidden", "lse", "sink_exact"))
    return {**told, "windows": [_window(window) for window in windows]}


def _window(window: WeightWindow) -> Entry:
    rows, columns = window.weights.shape
    weights, hidden = window_blobs(window)
    return {
        "kind": window.kind,
        "query": window.first_row,
        "key": window.first_key,
        "rows": rows,
        "columns": columns,
        "weights": weights,
        "hidden": hidden,
        "lse": None if window.log_total is None else float_blob(window.log_total),
        "sink": None if window.sink is None else float_blob(window.sink),
    }
