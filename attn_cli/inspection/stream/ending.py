"""What is done when all tiles of a block are read: its sums are entered where those of its rows stand.

The functions can be compiled, see :mod:`attn_cli.inspection.stream.functions`.

Shapes: g stacked key/value heads, n stacked query rows (for every row the heads of a group, next to each other),
C cells.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from attn_cli.inspection.stream.loop import Carry


class Goal(NamedTuple):
    """Where the sums of a block's rows go, see :class:`attn_cli.inspection.stream.sums.RowSums`.

    Attributes:
        reference: ``(b, h, r)``.
        sums: ``(sums, b, h, r)``.
        output: ``(b, h, r, Dv)``.
        cells: ``(b, h, r, C)``.
        largest: ``(b, h, r)``, empty where there is no bias.
    """

    reference: Tensor
    sums: Tensor
    output: Tensor
    cells: Tensor
    largest: Tensor


def end_block(
    carry: Carry,
    sides: list[int],
    columns: list[int],
    cells: list[Tensor],
    largest: list[Tensor],
    places: Tensor,
    ends: list[int],
    groups: int,
    goal: Goal,
) -> None:
    """Enter what all tiles gave.

    Args:
        carry: after all tiles; used up.
        sides: of each tile.
        columns: the first cell of each tile.
        cells: of each tile, ``(g, n, cells)``.
        largest: of each tile, where there is a bias, ``(g, n, 1)``.
        places: ``(1, n, 1)``.
        ends: the least of all places and the largest.
        groups: query heads of a key/value head.
        goal: filled in.
    """
    tiles, before, behind = len(sides), sides.count(1), sides.count(-1)
    sums = carry.slots[:, :tiles].sum(dim=1)  # (sums, g, n, 1)
    if before > 0:
        total = sums[0] if before == tiles else carry.slots[0, :before].sum(dim=0)
        sums[2].add_(total * (places - ends[0]))  # the way from the place nearest to a key to the row's own
    if behind > 0:
        total = sums[0] if behind == tiles else carry.slots[0, tiles - behind : tiles].sum(dim=0)
        sums[2].add_(total * (ends[1] - places))
    enter(sums, groups, goal.sums)
    enter(carry.reference.unsqueeze(0), groups, goal.reference.unsqueeze(0))
    enter(carry.output.unsqueeze(0), groups, goal.output.unsqueeze(0))
    if len(largest) > 0:
        enter(torch.stack(largest).amax(dim=0, keepdim=True), groups, goal.largest.unsqueeze(0))
    is_regular = True
    for tile in range(1, tiles):
        is_regular = is_regular and columns[tile] == columns[tile - 1] + cells[tile - 1].shape[2]
    if is_regular:
        last = columns[tiles - 1] + cells[tiles - 1].shape[2]
        goal.cells[:, :, :, : columns[0]].fill_(-4e30)
        goal.cells[:, :, :, last:].fill_(-4e30)
        joined = torch.cat(cells, dim=-1)  # (g, n, C)
        enter(joined.unsqueeze(0), groups, goal.cells[:, :, :, columns[0] : last].unsqueeze(0))
        return
    whole = torch.full([carry.output.shape[1]], -4e30, dtype=carry.output.dtype, device=carry.output.device)
    whole = whole[None, :, None].repeat(carry.output.shape[0], 1, goal.cells.shape[3])  # (g, n, C)
    for tile in range(tiles):
        mine = whole[:, :, columns[tile] : columns[tile] + cells[tile].shape[2]]
        torch.maximum(mine, cells[tile], out=mine)
    enter(whole.unsqueeze(0), groups, goal.cells.unsqueeze(0))


def enter(x: Tensor, groups: int, goal: Tensor) -> None:
    """Copy ``(…, g, n, c)`` into ``(…, b, h, r, c)`` or, where c is 1, into ``(…, b, h, r)``."""
    if goal.dim() == 4:
        goal = goal.unsqueeze(-1)
    shape = [x.shape[0], goal.shape[1], goal.shape[2] // groups, goal.shape[3], groups, x.shape[3]]
    of_groups = torch.unflatten(goal, 2, [-1, groups])  # (…, b, hkv, groups, r, c)
    of_groups.copy_(x.view(shape).transpose(3, 4))
