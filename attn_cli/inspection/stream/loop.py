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

Shapes: g stacked key/value heads, n stacked query rows (for every row the heads of a group), t keys of a tile. Rows
come last: sums and maxima over keys then run down the columns, many at once.
"""

from typing import NamedTuple

import torch
from torch import Tensor

FIRST_CUTS, LAST_CUTS = 1, 2  # numbers in the functions, as TorchScript knows no constants


class Tiles(NamedTuple):
    """Some tiles of keys, one after the other.

    Attributes:
        keys: K, ``(g, t, D)`` each.
        values: Vᵀ, ``(g, Dv, t)`` each.
        starts: the first key of each.
        begins, ends: the stacked rows that see a key of each, of n rows.
        cuts: which ends of the rows' intervals of visible keys lie among the keys: FIRST_CUTS, LAST_CUTS, their sum, or
            0.
        hidden: numbers to add to the logits for what else is hidden, 0 or −4e30 and less, ``(g or 1, t, n or 1)``;
            empty where nothing is.
        biases: the bias of each, ``(g or 1, t or 1, n or 1)``; none where there is no bias.
        sides: 1 where all keys lie at or before every place, −1 where all lie at or behind, 0 where places are between.
        ways: where the distances from the keys to the nearest of all places begin, in ``falling`` on side 1, in
            ``rising`` on side −1.
    """

    keys: list[Tensor]
    values: list[Tensor]
    starts: list[int]
    begins: list[int]
    ends: list[int]
    cuts: list[int]
    hidden: list[Tensor]
    biases: list[Tensor]
    sides: list[int]
    ways: list[int]


class Carry(NamedTuple):
    """What a block's rows carry from tile to tile; all is changed in place.

    Attributes:
        reference: m, ``(g, 1, n)``.
        limit: how far a logit may pass m: 4, and in rows that have met no visible key −2e30, ``(g, 1, n)``.
        output: Σ exp(s − m)·v, ``(g, Dv, n)``.
        sums: Σ exp(s − m)·(s − m); Σ exp(s − m); Σ exp(s − m)·apart; and, where tokens are known, Σ exp(s − m) over
            keys that repeat the query's token, and over those behind: ``(g, 3 or 5, n)``.
        cells: the largest s − m of each cell of the picture, ``(g, C, n)``.
        largest: the largest visible logit before the bias, ``(g, 1, n)``; empty where there is no bias.
        slots: what each tile of a run adds to the sums, ``(tiles, g, 3 or 5, n)``: room for one run after the other.
        space: two buffers for a tile's scores.
    """

    reference: Tensor
    limit: Tensor
    output: Tensor
    sums: Tensor
    cells: Tensor
    largest: Tensor
    slots: Tensor
    space: list[Tensor]


class Settings(NamedTuple):
    """What holds for all tiles of a block.

    Attributes:
        follows: whether m follows the largest logit; else it stays 0.
        pool: keys of a cell of the picture; a tile lies in one cell, or begins with one.
        softcap: c of c·tanh(s / c), or 0 for none.
        lowest: the least exponent that is formed.
        places: of the rows, ``(1, 1, n)`` int64.
        first, behind: the first key that each row sees, before ``keep``, and the one behind the last,
            ``(g or 1, 1, n)`` int64.
        ends: the least of all places and the largest.
        numbers: 0, 1, 2 … for the keys of a tile, ``(t, 1)``.
        steep: a number so large that half of it hides any logit.
        rising: ones, and 0, 1, 2 …, as many as keys and one more, ``(1, 2, length)``.
        falling: the same with numbers that fall to 0.
        tokens: none, or the rows' tokens ``(g, 1, n)``, the place before which keys count ``(g or 1, 1, n)``, and
            the keys' tokens ``(b, Sk)``.
    """

    follows: bool
    pool: int
    softcap: float
    lowest: float
    places: Tensor
    first: Tensor
    behind: Tensor
    ends: list[int]
    numbers: Tensor
    steep: float
    rising: Tensor
    falling: Tensor
    tokens: list[Tensor]


def add_tiles(q: Tensor, tiles: Tiles, carry: Carry, settings: Settings) -> None:
    """Take in a run of tiles.

    Args:
        q: ``(g, D, n)``, scaled.
        tiles: in ascending order, and behind those of all runs before.
        carry: changed in place.
        settings: of the block.
    """
    count, rows = len(tiles.keys), q.shape[2]
    space = tile_space(carry, q, tiles.keys[0].shape[1])
    slots = carry.slots.unbind(0)
    for number in range(count):
        begin, wide = tiles.begins[number], tiles.ends[number] - tiles.begins[number]
        keys = tiles.keys[number].shape[1]
        goal = slots[number]
        if wide == rows:
            if space[0].shape[1] != keys:
                space = tile_space(carry, q, keys)
            add_tile(q, tiles, number, carry, settings, goal, space)
            continue
        goal.zero_()
        some = q.narrow(2, begin, wide)
        part, goal = rows_of_carry(carry, begin, wide), goal.narrow(2, begin, wide)
        add_tile(some, tiles, number, part, settings, goal, tile_space(carry, some, keys))
    sums = carry.slots.narrow(0, 0, count).sum(dim=0)  # (g, sums, n)
    totals, distances = carry.slots.narrow(2, 1, 1), sums.narrow(1, 2, 1)  # (tiles, g, 1, n) and (g, 1, n)
    before, behind = tiles.sides.count(1), tiles.sides.count(-1)
    if before > 0:
        way = settings.places - settings.ends[0]  # from the place nearest to a key to the row's own
        distances.add_(totals.narrow(0, 0, before).sum(dim=0) * way)
    if behind > 0:
        way = settings.ends[1] - settings.places
        distances.add_(totals.narrow(0, count - behind, behind).sum(dim=0) * way)
    carry.sums.add_(sums)


def add_tile(
    q: Tensor, tiles: Tiles, number: int, carry: Carry, settings: Settings, goal: Tensor, space: list[Tensor]
) -> None:
    """Take in one tile, for the rows that see a key of it.

    Args:
        q: ``(g, D, m)``: the rows that see a key, m of all n.
        tiles: of all n rows.
        number: which of them.
        carry: of the m rows; changed in place.
        settings: of the block.
        goal: where its sums go, ``(g, 3 or 5, m)``.
        space: two buffers ``(g, t, m)``.
    """
    scores, weights = space[0], space[1]
    is_hiding = form_logits(q, tiles, number, settings, carry.largest, space)
    start = tiles.starts[number]
    cells = pooled(scores, start, settings.pool)
    if settings.follows:
        follow(cells, number, carry)
        scores.sub_(carry.reference)
        cells.sub_(carry.reference)
    if settings.follows or is_hiding:
        scores.clamp_(min=settings.lowest)
    column = start // settings.pool
    seen = carry.cells.narrow(1, column, cells.shape[1])
    torch.maximum(seen, cells, out=seen)
    torch.exp(scores, out=weights)
    scores.mul_(weights)
    torch.sum(scores, dim=[1], keepdim=True, out=goal.narrow(1, 0, 1))
    torch.baddbmm(carry.output, tiles.values[number], weights, out=carry.output)
    add_up(weights, tiles, number, settings, scores, goal.narrow(1, 1, 2))
    if len(settings.tokens) > 0:
        own, before = [rows_of(x, tiles.begins[number], q.shape[2]) for x in settings.tokens[:2]]
        for shift in range(2):
            goal.narrow(1, 3 + shift, 1).copy_(repeats(weights, start, shift, own, before, settings.tokens[2]))


def form_logits(q: Tensor, tiles: Tiles, number: int, settings: Settings, largest: Tensor, space: list[Tensor]) -> bool:
    """The textbook's steps from Q·Kᵀ to the mask, for the rows that see a key of a tile.

    Args:
        q: ``(g, D, m)``, scaled.
        tiles: of all n rows.
        number: which of them.
        settings: of the block.
        largest: the largest visible logit before the bias ``(g, 1, m)``, raised; not looked at where there is no bias.
        space: two buffers ``(g, t, m)``; the logits go into the first.

    Returns:
        Whether anything is hidden.
    """
    scores = space[0]
    torch.bmm(tiles.keys[number], q, out=scores)
    if settings.softcap > 0.0:
        scores.div_(settings.softcap).tanh_().mul_(settings.softcap)
    is_hiding = tiles.cuts[number] > 0 or tiles.hidden[number].numel() > 0
    if len(tiles.biases) > 0:
        visible = scores
        if is_hiding:
            visible = scores.clone()
            hide(visible, tiles, number, settings, space[1])
        torch.maximum(largest, visible.amax(dim=1, keepdim=True), out=largest)
        scores.add_(rows_of(tiles.biases[number], tiles.begins[number], q.shape[2])).clamp_(min=-1e30)
    if is_hiding:
        hide(scores, tiles, number, settings, space[1])
    return is_hiding


def hide(scores: Tensor, tiles: Tiles, number: int, settings: Settings, scratch: Tensor) -> None:
    """Put −4e30 or less in place of hidden logits ``(g, t, m)``; the scratch is as large."""
    start, begin, keys, rows = tiles.starts[number], tiles.begins[number], scores.shape[1], scores.shape[2]
    cut, steep = tiles.cuts[number], settings.numbers.narrow(0, 0, keys) * settings.steep  # (t, 1)
    room = scratch.narrow(0, 0, settings.first.shape[0])  # (g or 1, t, m)
    if cut >= 2:
        behind = (rows_of(settings.behind, begin, rows) - start).clamp(0, keys).to(scores.dtype)  # (g or 1, 1, m)
        torch.sub((behind - 0.5) * settings.steep, steep, out=room)
        torch.minimum(scores, room, out=scores)
    if cut % 2 == 1:
        first = (rows_of(settings.first, begin, rows) - start).clamp(0, keys).to(scores.dtype)
        torch.sub(steep, (first - 0.5) * settings.steep, out=room)
        torch.minimum(scores, room, out=scores)
    if tiles.hidden[number].numel() > 0:
        scores.add_(rows_of(tiles.hidden[number], begin, rows))


def add_up(weights: Tensor, tiles: Tiles, number: int, settings: Settings, scratch: Tensor, goal: Tensor) -> None:
    """Σ exp(s − m), and this times the distance from each key of a tile to the nearest of all places, or the row's own.

    Args:
        weights: exp(s − m), ``(g, t, m)``.
        tiles: of all n rows.
        number: which of them.
        settings: with the rulers.
        scratch: as large as the weights.
        goal: ``(g, 2, m)``, filled in.
    """
    if tiles.sides[number] == 0:
        places = rows_of(settings.places, tiles.begins[number], weights.shape[2]) - tiles.starts[number]
        numbers = settings.numbers.narrow(0, 0, weights.shape[1])  # (t, 1)
        apart = scratch if weights.shape[0] == 1 else torch.empty_like(weights[:1])  # (1, t, m)
        torch.sub(places, numbers, out=apart).abs_()
        torch.mul(weights, apart, out=scratch)
        torch.sum(weights, dim=[1], keepdim=True, out=goal.narrow(1, 0, 1))
        torch.sum(scratch, dim=[1], keepdim=True, out=goal.narrow(1, 1, 1))
        return
    ruler = settings.falling if tiles.sides[number] > 0 else settings.rising
    steps = ruler.narrow(2, tiles.ways[number], weights.shape[1])  # (1, 2, t)
    if weights.shape[0] > 1:
        steps = steps.expand(weights.shape[0], -1, -1)
    torch.bmm(steps, weights, out=goal)


def rows_of(x: Tensor, begin: int, wide: int) -> Tensor:
    """Some of the stacked rows; a tensor that is the same for all rows stays as it is."""
    return x.narrow(-1, begin, wide) if x.dim() > 1 and x.shape[-1] > wide else x


def rows_of_carry(carry: Carry, begin: int, wide: int) -> Carry:
    """What some of the stacked rows carry; it shares memory."""
    return Carry(
        carry.reference.narrow(-1, begin, wide),
        carry.limit.narrow(-1, begin, wide),
        rows_of(carry.output, begin, wide),
        carry.sums.narrow(-1, begin, wide),
        carry.cells.narrow(-1, begin, wide),
        rows_of(carry.largest, begin, wide),
        rows_of(carry.slots, begin, wide),
        carry.space,
    )


def tile_space(carry: Carry, q: Tensor, keys: int) -> list[Tensor]:
    """Two buffers for the scores of a tile, ``(g, keys, m)`` each."""
    shape = [q.shape[0], keys, q.shape[2]]
    return [x[: shape[0] * shape[1] * shape[2]].view(shape) for x in carry.space]


def pooled(scores: Tensor, start: int, pool: int) -> Tensor:
    """The largest score of each cell: ``(g, t, n)`` to ``(g, cells, n)``."""
    size = scores.shape[1]
    whole = size // pool
    if start % pool != 0 or whole == 0:
        return scores.amax(dim=1, keepdim=True)
    rest = size - whole * pool
    if rest == 0:
        return torch.unflatten(scores, 1, [whole, pool]).amax(dim=2)
    cells = torch.unflatten(scores.narrow(1, 0, whole * pool), 1, [whole, pool]).amax(dim=2)
    return torch.cat([cells, scores.narrow(1, whole * pool, rest).amax(dim=1, keepdim=True)], dim=1)


def follow(cells: Tensor, number: int, carry: Carry) -> None:
    """Let m follow where the logits of a tile pass it by too much.

    The new m is a logit itself, not the old m and a step: where a bias of −10⁹ came first, nothing is left of the
    digits of the sum.

    Args:
        cells: the largest logit in each cell of the tile, ``(g, cells, m)``.
        number: of the tile in its run.
        carry: moved and scaled.
    """
    largest = cells.amax(dim=1, keepdim=True)  # (g, 1, m)
    above = largest - carry.reference
    if float((above - carry.limit).amax()) <= 0.0:
        return
    rising = above > carry.limit
    step = torch.where(rising, above, 0.0)
    is_first = rising & (carry.limit < 0.0)
    factor = torch.exp(-step).masked_fill_(is_first, 0.0)
    carry.reference.copy_(torch.where(rising, largest, carry.reference))
    carry.limit.masked_fill_(is_first, 4.0)
    short = step.clamp(-1e3, 1e3)  # a longer step leaves nothing: its factor is 0
    for sums in [carry.sums.unsqueeze(0), carry.slots.narrow(0, 0, number)]:  # (tiles or 1, g, sums, m)
        sums.narrow(2, 0, 1).sub_(sums.narrow(2, 1, 1) * short)
        sums.mul_(factor)
    carry.output.mul_(factor)
    carry.cells.sub_(step)


def repeats(weights: Tensor, start: int, shift: int, own: Tensor, before: Tensor, tokens: Tensor) -> Tensor:
    """Summed weight on the keys that lie ``shift`` behind one that holds the row's token, ``(g, 1, n)``.

    Args:
        weights: ``(g, t, n)``.
        start: the first of the t keys.
        shift: 0 for the keys themselves, 1 for those right behind them.
        own: the rows' tokens, ``(g or 1, 1, n)``.
        before: only keys before this place count, ``(g or 1, 1, n)``.
        tokens: the keys' tokens, ``(b, Sk)``.
    """
    first = max(start, shift)
    stop = start + weights.shape[1]
    keys = tokens[:, first - shift : stop - shift]  # (b, t)
    keys = keys.repeat_interleave(weights.shape[0] // keys.shape[0], dim=0).unsqueeze(2)  # (g, t, 1)
    numbers = torch.arange(first - shift, stop - shift, device=weights.device).unsqueeze(1)
    there = (own == keys) & (numbers < before)  # (g, t, n)
    return (weights[:, first - start :] * there).sum(dim=1, keepdim=True)
