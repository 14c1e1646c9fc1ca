"""The loop of the online softmax over tiles of keys: one look at every tile gives all sums of a block's rows.

A row with the logits s and a reference m near the largest of them carries Σ exp(s − m), Σ exp(s − m)·(s − m),
Σ exp(s − m)·abs(p − j) and Σ exp(s − m)·v; where m moves, they are scaled (Milakov and Gimelshein 2018,
arXiv 1805.02867; Rabe and Staats 2021, arXiv 2112.05682). Two things make it cheap. Where the lengths of queries and
keys bound the logits (Cauchy and Schwarz), m stays 0 and nothing is ever scaled; elsewhere m may lag behind, and moves
only when a logit passes it by 4. And the largest logit of each cell of the picture, which is wanted anyway, serves as
the maximum.

A hidden logit is −4e30 or less, so that a difference of two is never NaN; its exponential is the smallest that the
processor forms without underflow, which is slow, and vanishes beside any visible key's.

The functions are plain PyTorch that TorchScript can compile too, see :mod:`attn_cli.inspection.stream.functions`. Hence
the named tuples, and numbers where names of constants should stand.

Shapes: g stacked key/value heads, n stacked query rows (for every row the heads of a group), t keys of a tile.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Tiles(NamedTuple):
    """Some tiles of keys, one after the other.

    Attributes:
        keys: Kᵀ, ``(g, D, t)`` each.
        values: V, ``(g, t, Dv)`` each.
        starts: the first key of each.
        begins, ends: the stacked rows that see a key of each, of n rows.
        hidden: numbers to add to the logits, 0 or −4e30 and less, ``(g or 1, n or 1, t)``; empty where nothing is
            hidden.
        biases: the bias of each, ``(g or 1, n or 1, t or 1)``; none where there is no bias.
        sides: 1 where all keys lie at or before every place, −1 where all lie at or behind, 0 where places are between.
        ways: where the distances from the keys to the nearest of all places begin, in ``falling`` on side 1, in
            ``rising`` on side −1.
        apart: the distances to each place, ``(1, n, t)``, on side 0.
    """

    keys: list[Tensor]
    values: list[Tensor]
    starts: list[int]
    begins: list[int]
    ends: list[int]
    hidden: list[Tensor]
    biases: list[Tensor]
    sides: list[int]
    ways: list[int]
    apart: list[Tensor]


class Carry(NamedTuple):
    """What a block's rows carry from tile to tile; all is changed in place.

    Attributes:
        reference: m, ``(g, n, 1)``.
        limit: how far a logit may pass m: 4, and in rows that have met no visible key −2e30, ``(g, n, 1)``.
        output: Σ exp(s − m)·v, ``(g, n, Dv)``.
        slots: what each tile adds, ``(sums, tiles, g, n, 1)``: Σ exp(s − m); Σ exp(s − m)·(s − m); Σ exp(s − m)·apart;
            and, where tokens are known, Σ exp(s − m) over keys that repeat the query's token, and over those behind.
        space: two buffers for a tile's scores.
    """

    reference: Tensor
    limit: Tensor
    output: Tensor
    slots: Tensor
    space: list[Tensor]


class Settings(NamedTuple):
    """What holds for all tiles of a block.

    Attributes:
        follows: whether m follows the largest logit; else it stays 0.
        pool: keys of a cell of the picture; a tile lies in one cell, or begins with one.
        softcap: c of c·tanh(s / c), or 0 for none.
        lowest: the least exponent that is formed.
        rising: 0, 1, 2 …, as many as keys and one more, ``(1, length, 1)``.
        falling: the same falling to 0.
        tokens: none, or the rows' tokens ``(g, n, 1)``, the place before which keys count ``(g or 1, n or 1, 1)``, and
            the keys' tokens ``(b, Sk)``.
    """

    follows: bool
    pool: int
    softcap: float
    lowest: float
    tokens: list[Tensor]
    rising: Tensor
    falling: Tensor


def add_tiles(
    q: Tensor, tiles: Tiles, done: int, carry: Carry, settings: Settings, earlier: list[Tensor]
) -> tuple[list[Tensor], list[Tensor]]:
    """Take in some tiles.

    Args:
        q: ``(g, n, D)``, scaled.
        tiles: in ascending order.
        done: how many tiles there were before.
        carry: changed in place.
        settings: of the block.
        earlier: the cells of all tiles before; changed where m moves.

    Returns:
        The cells of these tiles, the largest s − m of each ``pool`` keys, ``(g, n, cells)`` each; and, where there is a
        bias, the largest visible logit before it, ``(g, n, 1)`` each.
    """
    found: list[Tensor] = []
    largest: list[Tensor] = []
    for number in range(len(tiles.keys)):
        begin, end = tiles.begins[number], tiles.ends[number]
        is_whole = end - begin == q.shape[1]
        part, before = carry, found[:0]
        if settings.follows:
            before = earlier + found
        if not is_whole:
            carry.slots[:, done + number].zero_()
            part = rows_of_carry(carry, begin, end)
            before = [x[:, begin:end] for x in before]
        cells, unbiased = add_tile(q[:, begin:end], tiles, number, done + number, part, settings, before)
        found.append(cells if is_whole else among_hidden(cells, begin, q.shape[1]))
        if len(tiles.biases) > 0:
            largest.append(unbiased if is_whole else among_hidden(unbiased, begin, q.shape[1]))
    return found, largest


def add_tile(
    q: Tensor, tiles: Tiles, number: int, tile: int, carry: Carry, settings: Settings, earlier: list[Tensor]
) -> tuple[Tensor, Tensor]:
    """Take in one tile, for the rows that see a key of it.

    Args:
        q: ``(g, m, D)``: the rows that see a key, m of all n.
        tiles: of all n rows.
        number: which of them.
        tile: its number in the block.
        carry: of the m rows; changed in place.
        settings: of the block.
        earlier: the cells of all tiles before, of the m rows; changed where the reference moves.

    Returns:
        The tile's cells ``(g, m, cells)``, and the largest visible logit before the bias ``(g, m, 1)``, empty where
        there is no bias.
    """
    shape = [q.shape[0], q.shape[1], tiles.keys[number].shape[2]]
    size = shape[0] * shape[1] * shape[2]
    scores = carry.space[0][:size].view(shape)
    weights = carry.space[1][:size].view(shape)
    is_hiding, largest = form_logits(q, tiles, number, settings.softcap, scores)
    cells = pooled(scores, tiles.starts[number], settings.pool)
    if settings.follows:
        follow(cells, tile, carry, earlier)
        scores.sub_(carry.reference)
        cells.sub_(carry.reference)
    if settings.follows or is_hiding:
        scores.clamp_(min=settings.lowest)
    slot = carry.slots[:, tile]  # (sums, g, m, 1)
    torch.exp(scores, out=weights)
    torch.sum(weights, dim=[-1], keepdim=True, out=slot[0])
    scores.mul_(weights)
    torch.sum(scores, dim=[-1], keepdim=True, out=slot[1])
    torch.baddbmm(carry.output, weights, tiles.values[number], out=carry.output)
    add_distances(weights, tiles, number, settings, scores, slot[2])
    if len(settings.tokens) > 0:
        own = rows_of(settings.tokens[0], tiles.begins[number], tiles.ends[number])
        before = rows_of(settings.tokens[1], tiles.begins[number], tiles.ends[number])
        for shift in range(2):
            slot[3 + shift].copy_(repeats(weights, tiles.starts[number], shift, own, before, settings.tokens[2]))
    return cells, largest


def form_logits(q: Tensor, tiles: Tiles, number: int, softcap: float, scores: Tensor) -> tuple[bool, Tensor]:
    """The textbook's steps from Q·Kᵀ to the mask, for the rows that see a key of a tile.

    Args:
        q: ``(g, m, D)``, scaled.
        tiles: of all n rows.
        number: which of them.
        softcap: c, or 0 for none.
        scores: ``(g, m, t)``, filled in.

    Returns:
        Whether anything is hidden; and the largest visible logit before the bias ``(g, m, 1)``, empty where there is no
        bias.
    """
    begin, end = tiles.begins[number], tiles.ends[number]
    hidden = rows_of(tiles.hidden[number], begin, end)
    is_hiding = hidden.numel() > 0
    largest = hidden[:0]
    torch.bmm(q, tiles.keys[number], out=scores)
    if softcap > 0.0:
        scores.div_(softcap).tanh_().mul_(softcap)
    if len(tiles.biases) > 0:
        visible = scores + hidden if is_hiding else scores
        largest = visible.amax(dim=-1, keepdim=True)
        scores.add_(rows_of(tiles.biases[number], begin, end)).clamp_(min=-1e30)
    if is_hiding:
        scores.add_(hidden)
    return is_hiding, largest


def add_distances(
    weights: Tensor, tiles: Tiles, number: int, settings: Settings, scratch: Tensor, goal: Tensor
) -> None:
    """Σ exp(s − m) times the distance from each key of a tile to the nearest of all places, or to the row's own.

    Args:
        weights: exp(s − m), ``(g, m, t)``.
        tiles: of all n rows.
        number: which of them.
        settings: with the rulers.
        scratch: as large as the weights.
        goal: ``(g, m, 1)``, filled in.
    """
    if tiles.sides[number] == 0:
        torch.mul(weights, rows_of(tiles.apart[number], tiles.begins[number], tiles.ends[number]), out=scratch)
        torch.sum(scratch, dim=[-1], keepdim=True, out=goal)
        return
    ruler = settings.falling if tiles.sides[number] > 0 else settings.rising
    way = tiles.ways[number]
    steps = ruler[:, way : way + weights.shape[2]]  # (1, t, 1)
    torch.bmm(weights, steps.expand(weights.shape[0], -1, -1), out=goal)


def rows_of(x: Tensor, begin: int, end: int) -> Tensor:
    """Some of the stacked rows; a tensor that is the same for all rows stays as it is."""
    return x[:, begin:end] if x.dim() > 1 and x.shape[1] > 1 else x


def rows_of_carry(carry: Carry, begin: int, end: int) -> Carry:
    """What some of the stacked rows carry; it shares memory."""
    return Carry(
        carry.reference[:, begin:end],
        carry.limit[:, begin:end],
        carry.output[:, begin:end],
        carry.slots[:, :, :, begin:end],
        carry.space,
    )


def among_hidden(x: Tensor, begin: int, rows: int) -> Tensor:
    """``(g, m, c)`` with the numbers of hidden keys above and below, ``(g, n, c)``."""
    whole = torch.full([x.shape[0], rows, x.shape[2]], -4e30, dtype=x.dtype, device=x.device)
    whole[:, begin : begin + x.shape[1]] = x
    return whole


def pooled(scores: Tensor, start: int, pool: int) -> Tensor:
    """The largest score of each cell: ``(g, n, t)`` to ``(g, n, cells)``."""
    size = scores.shape[-1]
    whole = size // pool
    if start % pool != 0 or whole == 0:
        return scores.amax(dim=-1, keepdim=True)
    if whole * pool == size:
        return scores.view(scores.shape[0], scores.shape[1], whole, pool).amax(dim=-1)
    first = torch.unflatten(scores[:, :, : whole * pool], -1, [whole, pool]).amax(dim=-1)
    return torch.cat([first, scores[:, :, whole * pool :].amax(dim=-1, keepdim=True)], dim=-1)


def follow(cells: Tensor, tile: int, carry: Carry, earlier: list[Tensor]) -> None:
    """Let m follow where the logits of a tile pass it by too much.

    The new m is a logit itself, not the old m and a step: where a bias of −10⁹ came first, nothing is left of the
    digits of the sum.

    Args:
        cells: the largest logit in each cell of the tile, ``(g, m, cells)``.
        tile: its number in the block.
        carry: moved and scaled.
        earlier: the cells of earlier tiles, less m; changed in place.
    """
    largest = cells.amax(dim=-1, keepdim=True)  # (g, m, 1)
    above = largest - carry.reference
    if float((above - carry.limit).amax()) <= 0.0:
        return
    rising = above > carry.limit
    step = torch.where(rising, above, 0.0)
    is_first = rising & (carry.limit < 0.0)
    factor = torch.exp(-step).masked_fill_(is_first, 0.0)
    carry.reference.copy_(torch.where(rising, largest, carry.reference))
    carry.limit.masked_fill_(is_first, 4.0)
    before = carry.slots[:, :tile]  # (sums, tiles, g, m, 1)
    before[1].sub_(before[0] * step.clamp(-1e3, 1e3))  # a longer step leaves nothing: its factor is 0
    before.mul_(factor)
    carry.output.mul_(factor)
    for x in earlier:
        x.sub_(step)


def repeats(weights: Tensor, start: int, shift: int, own: Tensor, before: Tensor, tokens: Tensor) -> Tensor:
    """Summed weight on the keys that lie ``shift`` behind one that holds the row's token, ``(g, n, 1)``.

    Args:
        weights: ``(g, n, t)``.
        start: the first of the t keys.
        shift: 0 for the keys themselves, 1 for those right behind them.
        own: the rows' tokens, ``(g or 1, n, 1)``.
        before: only keys before this place count, ``(g or 1, n, 1)``.
        tokens: the keys' tokens, ``(b, Sk)``.
    """
    first = max(start, shift)
    stop = start + weights.shape[2]
    keys = tokens[:, first - shift : stop - shift]  # (b, t)
    keys = keys.repeat_interleave(weights.shape[0] // keys.shape[0], dim=0).unsqueeze(1)  # (g, 1, t)
    numbers = torch.arange(first - shift, stop - shift, device=weights.device)
    there = (own == keys) & (numbers < before)  # (g, n, t)
    return (weights[:, :, first - start :] * there).sum(dim=-1, keepdim=True)
