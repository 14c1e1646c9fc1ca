"""Weights that somebody else computed, as pictures beside those of an inspection; nothing is measured on them."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from attn_cli.inspection.pictures import max_pool
from attn_cli.inspection.types import Detail, Inspection, Pictures, TopPairs, WeightWindow

LABEL = "recorded"


def stored_inspection(weights: Tensor, like: Inspection) -> Inspection:
    """Weights in the cells of another inspection of the same shape, without metrics, labels and findings of their own.

    A key counts as masked where the other inspection has it masked and these weights give it none.

    Args:
        weights: ``(B, Hq, Sq, Sk)``, any dtype; rows as the inspection has them.
        like: an inspection without a zoom.
    """
    wide = weights.float().cpu()
    shown = like.pictures if like.detail is None else like.detail.pictures
    pictures = _pictures(wide, shown)
    top = _top(wide, like)
    windows = () if like.detail is None else like.detail.windows
    own = tuple(
        tuple(tuple(_window(one, wide[b, h]) for one in of_head) for h, of_head in enumerate(heads))
        for b, heads in enumerate(windows)
    )
    return replace(
        like,
        metrics={},
        labels=tuple((LABEL,) * len(heads) for heads in like.labels),
        pictures=pictures,
        top=top,
        weights=None,
        sink_weights=None,
        similarity=None,
        findings=(),
        detail=None if like.detail is None else Detail(pictures, own),
    )


def _pictures(wide: Tensor, shown: Pictures) -> Pictures:
    cells = max_pool(max_pool(wide, 3, shown.key_pool), 2, shown.query_pool)  # (B, Hq, R, C)
    given = max_pool(max_pool(wide != 0, 3, shown.key_pool), 2, shown.query_pool)  # also below 0
    return replace(shown, weights=cells, visible=shown.visible | given, sink=None, apart=None)


def _top(wide: Tensor, like: Inspection) -> TopPairs:
    """As many of the strongest pairs as the inspection has; −1 where there are no more."""
    keys, most = wide.shape[3], like.top.weight.shape[2]
    found = wide.nan_to_num(-1.0).flatten(2).topk(min(most, wide.shape[2] * keys), dim=2)  # (B, Hq, K)
    rows = like.index.queries.cpu()[found.indices // keys]
    is_there = found.values > 0
    return TopPairs(
        query=torch.where(is_there, rows, -1),
        key=torch.where(is_there, found.indices % keys, -1),
        weight=torch.where(is_there, found.values.double(), torch.nan),
    )


def _window(one: WeightWindow, weights: Tensor) -> WeightWindow:
    rows, keys = one.weights.shape
    part = weights[one.first_row : one.first_row + rows, one.first_key : one.first_key + keys]  # (r, t)
    return replace(one, weights=part, visible=one.visible | (part != 0), log_total=None, sink=None)
