"""ATTN004: what the other causal alignment would change."""

from __future__ import annotations

from dataclasses import replace

import torch

from attn_cli.attention.blocks import row_blocks
from attn_cli.attention.masks import MaskRule, aligned_places
from attn_cli.attention.types import AttentionInputs
from attn_cli.inspection.findings.rules import UNDECIDED_ALIGNMENT, counted
from attn_cli.inspection.types import Finding, Place

CELLS_AT_ONCE = 2**22


def alignment_finding(inputs: AttentionInputs, align: str) -> Finding | None:
    """Says which alignment was used although none was chosen, and what the other one would change.

    Args:
        inputs: the call or a selection of it; the alignment must show in ``inputs.rules.mask.places``.
        align: the one that was used, ``"bottom-right"`` or ``"top-left"``.

    Returns:
        The finding, whose count is the number of (batch item, query, key) cells that would become visible or hidden,
        each head's own where the keep mask differs by head; or None where the alignment makes no difference.
    """
    mask, index, keys = inputs.rules.mask, inputs.index, inputs.weights_shape[3]
    queries, other = index.total_queries, other_alignment(align)
    if queries == keys or not (mask.causal or mask.window is not None):
        return None
    changed = _changed_cells(mask, realigned(inputs, other), len(index.batch))  # (Sq,)
    cells = int(changed.sum())
    if cells == 0:
        return None
    first = int((changed > 0).to(torch.int8).argmax())
    order = "causal order" if mask.causal else "the window"
    message = (
        f"{order} was aligned {align}, since no alignment was chosen for {counted(queries, 'query row')} and "
        f"{counted(keys, 'key')}; {other} would show or hide {counted(cells, 'other cell')}, from query "
        f"{int(index.queries[first])} on"
    )
    hint = (
        f"Choose --causal-align {other} if the first query belongs to the first key."
        if other == "top-left"
        else ("Choose --causal-align bottom-right if the last query belongs to the last key, as with a KV cache.")
    )
    return UNDECIDED_ALIGNMENT.finding(message, Place(query=int(index.queries[first])), cells, hint)


def other_alignment(align: str) -> str:
    """The alignment that a call may have been meant to have instead."""
    return "bottom-right" if align == "top-left" else "top-left"


def realigned(inputs: AttentionInputs, align: str) -> MaskRule:
    """The mask of a call or of a selection of it, with its queries at other places."""
    mask, index = inputs.rules.mask, inputs.index
    places = aligned_places(index.total_queries, mask.num_keys, align)[index.queries]  # (Sq,)
    return replace(mask, places=places.to(mask.places.device))


def _changed_cells(one: MaskRule, two: MaskRule, batch: int) -> torch.Tensor:
    """In how many cells of each query row the two rules differ, over all batch items: ``(Sq,)`` int64."""
    if one.keep is None:
        differing = _changed_by_interval(one, two)  # (B or 1, 1, Sq)
    else:
        differing = torch.cat([_changed_by_cell(one, two, rows) for rows in _row_blocks(one)], dim=-1)
    per_row = differing.sum(dim=(0, 1))
    return per_row * batch if differing.shape[0] == 1 else per_row


def _changed_by_interval(one: MaskRule, two: MaskRule) -> torch.Tensor:
    (first, behind), (other_first, other_behind) = one.interval(), two.interval()
    shared = torch.minimum(behind, other_behind) - torch.maximum(first, other_first)
    return (behind - first) + (other_behind - other_first) - 2 * shared.clamp(min=0)


def _changed_by_cell(one: MaskRule, two: MaskRule, rows: slice) -> torch.Tensor:
    tile, other = one.tile(rows), two.tile(rows)
    assert tile is not None  # there is a keep mask, so there are tiles
    assert other is not None
    differ = tile ^ other
    return differ.expand(*differ.shape[:2], len(one.places[rows]), one.num_keys).sum(dim=-1)


def _row_blocks(mask: MaskRule) -> list[slice]:
    assert mask.keep is not None
    lens = 1 if mask.valid_lens is None else len(mask.valid_lens)
    copies = max(lens, mask.keep.shape[0]) * mask.keep.shape[1]
    return row_blocks(len(mask.places), copies * mask.num_keys, CELLS_AT_ONCE)
