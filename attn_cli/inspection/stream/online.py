"""The pass of the online softmax over query rows: it cuts their keys into tiles and leaves the sums to the loop.

Shapes: g stacked key/value heads, n stacked query rows, t keys.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from attn_cli.inspection.areas import Area
from attn_cli.inspection.call import Call
from attn_cli.inspection.logits import HIDDEN, keys_of
from attn_cli.inspection.stream.functions import Functions
from attn_cli.inspection.stream.hiding import Hiding, TileMemory
from attn_cli.inspection.stream.loop import Settings, Tiles
from attn_cli.inspection.stream.plan import Plan, key_tiles, most_tiles
from attn_cli.inspection.stream.spans import Reach, Spans
from attn_cli.inspection.stream.sums import RowSums, Running
from attn_cli.inspection.stream.tiles import KeyTiles, stacked
from attn_cli.inspection.stream.tokens import stacked_tokens

BOUNDED = 40.0  # an exponential this large times any sum of values attn reads is a float32
TILES_OF_RUN = 16


class OnlinePass:
    """Walks query rows over tiles of keys, in buffers of its own.

    Args:
        call: the call.
        spans: the keys that its rows reach.
        plan: how it is cut.
        functions: what does the work, as it is or compiled.
    """

    def __init__(self, call: Call, spans: Spans, plan: Plan, functions: Functions) -> None:
        self._call, self._spans, self._plan, self._functions = call, spans, plan, functions
        self._tiles, self._memory = KeyTiles(call), TileMemory(spans)
        size = plan.batch * plan.kv_heads * call.groups * plan.rows * plan.keys
        self._space = [torch.empty(size, dtype=call.dtype, device=call.device) for _ in range(2)]
        self._running: dict[tuple[int, int], Running] = {}
        self._sums: dict[tuple[int, int, int], RowSums] = {}
        self._room = torch.empty(0, dtype=call.dtype, device=call.device)
        self._nothing = torch.empty(0, dtype=call.dtype, device=call.device)
        steps = torch.arange(call.seen.mask.num_keys + 1, dtype=call.dtype, device=call.device)
        self._rising, self._falling = (x[None, :, None] for x in (steps, steps.flip(0)))  # (1, length, 1)

    def sums(self, item: Area, follow: bool = False) -> RowSums:
        """All sums of an item's rows, in room that the next item will use.

        Args:
            item: where they lie.
            follow: let m follow the largest logit even where no logit can be far from 0. Where nearly all weight is on
                one key, Z and the entropy then keep more digits.
        """
        call, groups = self._call, self._call.groups
        if item.shape not in self._sums:
            columns = -(-call.seen.mask.num_keys // self._plan.key_pool)
            self._sums[item.shape] = RowSums.empty(call, item.shape, columns)
        sums = replace(self._sums[item.shape], follows=follow or not self._is_bounded(item))
        q = self._queries(item)  # (g, n of the item, D)
        for block in item.split(self._plan.rows):
            rows = slice(block.rows.start - item.rows.start, block.rows.stop - item.rows.start)
            self._block(block, q[:, rows.start * groups : rows.stop * groups], sums.rows(rows))
        return sums

    def _queries(self, item: Area) -> Tensor:
        """The queries times the scale, stacked: ``(g, n, D)``."""
        (batch, heads, rows), groups = item.shape, self._call.groups
        q = self._call.inputs.q[item.place]  # (b, h, r, D)
        self._room.resize_(batch, heads // groups, rows, groups, q.shape[-1])
        of_rows = torch.unflatten(q, 1, (-1, groups)).transpose(2, 3)  # (b, hkv, r, groups, D)
        torch.mul(of_rows.to(self._call.dtype), self._call.inputs.scale, out=self._room)
        return self._room.view(-1, rows * groups, q.shape[-1])

    def _is_bounded(self, item: Area) -> bool:
        """Whether no logit of the item can be farther from 0 than BOUNDED."""
        rules = self._call.inputs.rules
        if rules.bias is not None:
            return False
        if rules.softcap is not None and abs(rules.softcap) <= BOUNDED:
            return True
        return float(self._call.largest_logits[item.batch, item.kv_heads].amax()) <= BOUNDED

    def _block(self, block: Area, q: Tensor, sums: RowSums) -> None:
        call, plan = self._call, self._plan
        reach = self._spans.reach(block)
        hiding = Hiding(call, self._spans, block, reach, self._memory)
        running, settings = self._begin(q), self._settings(block, sums.follows)
        tiles = list(key_tiles(reach.first, reach.behind, plan.keys, plan.key_pool))
        if hiding.has_gaps:
            tiles = [keys for keys in tiles if not hiding.leaves_nothing(keys)]
        for first in range(0, len(tiles), TILES_OF_RUN):
            some = tiles[first : first + TILES_OF_RUN]
            running.add(self._functions, q, self._read(block, some, reach, hiding), settings)
        running.end(self._functions, call, block, reach, plan.key_pool, sums)

    def _begin(self, q: Tensor) -> Running:
        shape = (q.shape[0], q.shape[1])
        if shape not in self._running:
            tiles = most_tiles(self._call.seen.mask.num_keys, self._plan.keys, self._plan.key_pool)
            self._running[shape] = Running(self._call, shape, tiles, self._space)
        self._running[shape].begin()
        return self._running[shape]

    def _settings(self, block: Area, follows: bool) -> Settings:
        call, softcap = self._call, self._call.inputs.rules.softcap
        return Settings(
            follows=follows,
            pool=self._plan.key_pool,
            softcap=softcap or 0.0,
            lowest=lowest_exponent(call.dtype),
            tokens=stacked_tokens(call, block),
            rising=self._rising,
            falling=self._falling,
        )

    def _read(self, block: Area, some: list[slice], reach: Reach, hiding: Hiding) -> Tiles:
        rules, count, rows = self._call.inputs.rules, len(some), block.shape[2] * self._call.groups
        run = slice(some[0].start, some[-1].stop)
        sides = [reach.side(run)] * count if reach.side(run) else [reach.side(keys) for keys in some]
        seen = [(0, rows)] * count if reach.covers(run) else [hiding.stacked_rows(keys) for keys in some]
        if reach.covers(run) and rules.mask.keep is None and rules.bias is None:
            hidden = [self._nothing] * count
        else:
            hidden = [self._hidden(block, keys, hiding) for keys in some]
        read = self._tiles.read(block, some)
        return Tiles(
            keys=[k for k, _ in read],
            values=[v for _, v in read],
            starts=[keys.start for keys in some],
            begins=[begin for begin, _ in seen],
            ends=[end for _, end in seen],
            hidden=hidden,
            biases=[] if rules.bias is None else [self._bias(block, keys) for keys in some],
            sides=sides,
            ways=[self._way(keys, reach, side) for keys, side in zip(some, sides, strict=True)],
            apart=[self._nothing if side else hiding.distances(keys) for keys, side in zip(some, sides, strict=True)],
        )

    def _way(self, keys: slice, reach: Reach, side: int) -> int:
        """Where the steps from a tile's keys to the nearest of all places begin, in ``falling`` or ``rising``."""
        if side > 0:
            return int(self._falling.shape[1] - 1 - (reach.least_place - keys.start))
        return int(keys.start - reach.largest_place)

    def _bias(self, block: Area, keys: slice) -> Tensor:
        """The bias of a tile, ``(g or 1, n or 1, t or 1)``."""
        bias = self._call.inputs.rules.bias
        assert bias is not None  # asked for only where there is one
        return stacked(keys_of(block.of(bias), keys), self._call, block)

    def _hidden(self, block: Area, keys: slice, hiding: Hiding) -> Tensor:
        """What is hidden of a tile, by the bias too."""
        hidden = hiding.tile(keys)
        if self._call.seen.bias is not None:
            by_bias = torch.where(self._bias(block, keys) == -torch.inf, HIDDEN, 0.0).to(self._call.dtype)
            return by_bias if hidden is None else by_bias + hidden
        return self._nothing if hidden is None else hidden


def lowest_exponent(dtype: torch.dtype) -> float:
    """What an exponential can still take without underflow."""
    return -700.0 if dtype == torch.float64 else -80.0
