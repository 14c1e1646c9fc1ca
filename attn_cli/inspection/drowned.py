"""Query rows whose keys a finite mask constant hides, all of them."""

from __future__ import annotations

import torch
from torch import Tensor

from attn_cli.attention.blocks import row_blocks
from attn_cli.attention.masks import HIDING
from attn_cli.attention.textbook import rows_of
from attn_cli.attention.types import Rules

CELLS_AT_ONCE = 2**22


def drowned_rows(rules: Rules) -> Tensor | None:
    """The rows that see keys only through a bias that is there to hide them.

    Softmax takes a constant off that all logits of a row have. Until then it is part of each logit, rounded to the
    constant's own step: 64 at −1e9 in float32, 32 at float16's lowest number. The logits drown in it, and what such a
    row gives is a matter of dtype and kernel.

    Returns:
        ``(B or 1, Hq or 1, Sq)`` bool on the CPU; None where no bias is added.
    """
    mask, bias = rules.mask, rules.bias
    if bias is None:
        return None
    cells = mask.num_keys * bias.shape[0] * bias.shape[1]
    blocks = [_drowned(rules, bias, rows) for rows in row_blocks(len(mask.places), cells, CELLS_AT_ONCE)]
    return torch.cat(blocks, dim=-1)


def _drowned(rules: Rules, bias: Tensor, rows: slice) -> Tensor:
    numbers, kept = rows_of(bias, rows), rules.mask.tile(rows)
    hides, hides_for_good = numbers <= HIDING, numbers == -torch.inf
    if kept is not None:
        hides, hides_for_good = hides | ~kept, hides_for_good | ~kept
    drowned = (hides.all(dim=-1) & ~hides_for_good.all(dim=-1)).cpu()  # (B or 1, Hq or 1, r or 1)
    return drowned.expand(*drowned.shape[:2], len(rules.mask.places[rows]))
