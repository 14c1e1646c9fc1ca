"""The pass of the online softmax over query rows: it cuts their keys into tiles and leaves the sums to the loop.

Shapes: g stacked key/value heads, n stacked query rows, t keys.
"""

from __future__ import annotations

import torch
from torch import Tensor

from attn_cli.inspection.areas import Area
from attn_cli.inspection.call import Call
from attn_cli.inspection.stream.functions import Functions
from attn_cli.inspection.stream.hiding import Hiding
from attn_cli.inspection.stream.loop import Carry, Settings, Tiles
from attn_cli.inspection.stream.plan import Plan, key_tiles
from attn_cli.inspection.stream.spans import Reach, Spans
from attn_cli.inspection.stream.sums import RowSums, Running
from attn_cli.inspection.stream.tiles import KeyTiles, stacked
from attn_cli.inspection.stream.tokens import stacked_tokens

BOUNDED = 40.0  # an exponential this large times any sum of values attn reads is a float32
TILES_OF_RUN = 16
STEEP = 2.0**103  # half of it is more than any logit, and hides it


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
        self._tiles = KeyTiles(call)
        self._first, self._behind = call.seen.intervals  # (B or 1, 1, Sq) each
        size = plan.batch * plan.kv_heads * call.groups * plan.rows * plan.keys
        self._space = [torch.empty(size, dtype=call.dtype, device=call.device) for _ in range(2)]
        self._running: dict[tuple[int, int, int], Running] = {}
        self._room = torch.empty(0, dtype=call.dtype, device=call.device)
        self._nothing = torch.empty(0, dtype=call.dtype, device=call.device)
        steps = torch.arange(call.seen.mask.num_keys + 1, dtype=call.dtype, device=call.device)
        self._numbers = steps[: plan.keys, None]  # (t, 1)
        both = (torch.stack([torch.ones_like(steps), x])[None] for x in (steps, steps.flip(0)))
        self._rising, self._falling = both  # (1, 2, length)

    def sums(self, item: Area, follow: bool = False) -> RowSums:
        """All sums of an item's rows, in room that the next item will use.

        Args:
            item: where they lie.
            follow: let m follow the largest logit even where no logit can be far from 0. Where nearly all weight is on
                one key, Z and the entropy then keep more digits.
        """
        running, follow = self._running_of(item.shape), follow or not self._is_bounded(item)
        for block in item.split(self._plan.rows):
            rows = slice(block.rows.start - item.rows.start, block.rows.stop - item.rows.start)
            carry = running.begin(rows)
            self._block(block, carry, follow)
            running.end(rows, carry)
        return running.result(follow)

    def _running_of(self, shape: tuple[int, int, int]) -> Running:
        if shape not in self._running:
            call, plan = self._call, self._plan
            columns = -(-call.seen.mask.num_keys // plan.key_pool)
            self._running[shape] = Running(call, shape, columns, plan.rows, TILES_OF_RUN, self._space)
        return self._running[shape]

    def _queries(self, block: Area) -> Tensor:
        """The queries times the scale, stacked: ``(g, D, n)``."""
        (batch, heads, rows), groups = block.shape, self._call.groups
        q = self._call.inputs.q[block.place]  # (b, h, r, D)
        self._room.resize_(batch, heads // groups, q.shape[-1], rows, groups)
        of_rows = torch.unflatten(q, 1, (-1, groups)).permute(0, 1, 4, 3, 2)  # (b, hkv, D, r, groups)
        torch.mul(of_rows.to(self._call.dtype), self._call.inputs.scale, out=self._room)
        return self._room.view(-1, q.shape[-1], rows * groups)

    def _is_bounded(self, item: Area) -> bool:
        """Whether no logit of the item can be farther from 0 than BOUNDED."""
        rules = self._call.inputs.rules
        if rules.bias is not None:
            return False
        if rules.softcap is not None and abs(rules.softcap) <= BOUNDED:
            return True
        return float(self._call.largest_logits[item.batch, item.kv_heads].amax()) <= BOUNDED

    def _block(self, block: Area, carry: Carry, follows: bool) -> None:
        plan, reach, q = self._plan, self._spans.reach(block), self._queries(block)
        hiding = Hiding(self._call, self._spans, block, reach)
        tiles = list(key_tiles(reach.first, reach.behind, plan.keys, plan.key_pool))
        if hiding.has_gaps:
            tiles = [keys for keys in tiles if not hiding.leaves_nothing(keys)]
        settings = self._settings(block, reach, follows)
        for first in range(0, len(tiles), TILES_OF_RUN):
            some = tiles[first : first + TILES_OF_RUN]
            self._functions.add_tiles(q, self._read(block, some, reach, hiding), carry, settings)

    def _settings(self, block: Area, reach: Reach, follows: bool) -> Settings:
        call, softcap = self._call, self._call.inputs.rules.softcap
        return Settings(
            follows=follows,
            pool=self._plan.key_pool,
            softcap=softcap or 0.0,
            lowest=lowest_exponent(call.dtype),
            places=self._of_rows(call.seen.mask.places[None, None], block),
            first=self._of_rows(self._first, block),
            behind=self._of_rows(self._behind, block),
            ends=[reach.least_place, reach.largest_place],
            numbers=self._numbers,
            steep=STEEP,
            rising=self._rising,
            falling=self._falling,
            tokens=stacked_tokens(call, block),
        )

    def _of_rows(self, x: Tensor, block: Area) -> Tensor:
        """A block's part of ``(B or 1, 1, Sq)``, stacked: ``(g or 1, 1, n)``."""
        rows = block.shape[2] * self._call.groups
        return stacked(block.of(x)[..., None], self._call, block).expand(-1, -1, rows)

    def _read(self, block: Area, some: list[slice], reach: Reach, hiding: Hiding) -> Tiles:
        rules, count, rows = self._call.inputs.rules, len(some), block.shape[2] * self._call.groups
        run = slice(some[0].start, some[-1].stop)
        sides = [reach.side(run)] * count if reach.side(run) else [reach.side(keys) for keys in some]
        seen = [(0, rows)] * count if reach.covers(run) else [hiding.stacked_rows(keys) for keys in some]
        cuts = [0] * count if reach.covers(run) else [hiding.cut(keys) for keys in some]
        hidden = [self._nothing] * count
        if rules.mask.keep is not None or rules.bias is not None:
            tiles = [hiding.tile(keys) for keys in some]
            hidden = [self._nothing if tile is None else tile for tile in tiles]
        read = self._tiles.read(block, some)
        return Tiles(
            keys=[k for k, _ in read],
            values=[v for _, v in read],
            starts=[keys.start for keys in some],
            begins=[begin for begin, _ in seen],
            ends=[end for _, end in seen],
            cuts=cuts,
            hidden=hidden,
            biases=[] if rules.bias is None else [hiding.bias(keys) for keys in some],
            sides=sides,
            ways=[self._way(keys, reach, side) for keys, side in zip(some, sides, strict=True)],
        )

    def _way(self, keys: slice, reach: Reach, side: int) -> int:
        """Where the steps from a tile's keys to the nearest of all places begin, in ``falling`` or ``rising``."""
        if side > 0:
            return int(self._falling.shape[2] - 1 - (reach.least_place - keys.start))
        return int(keys.start - reach.largest_place)


def lowest_exponent(dtype: torch.dtype) -> float:
    """What an exponential can still take without underflow."""
    return -700.0 if dtype == torch.float64 else -80.0
