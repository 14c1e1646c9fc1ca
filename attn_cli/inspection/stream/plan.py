"""How a call is cut: into parts whose rows are reduced at once, items for the threads, blocks and tiles."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from attn_cli.attention.types import AttentionInputs
from attn_cli.inspection.areas import Area, ranges
from attn_cli.inspection.call import Call
from attn_cli.inspection.options import InspectOptions
from attn_cli.inspection.stream.spans import Spans

ROWS_OF_PART = 2**16
NARROWEST_ON_GPU = 1024  # keys of a tile
BLOCKS_OF_ITEM = 8
ITEMS_AT_LEAST = 16
SCORES_OF_ITEM = 2**26  # so that progress is told, and Ctrl-C obeyed, some times a second
SMALL = 2**22  # scores of a call that one thread is done with before several have shared it out


@dataclass(frozen=True)
class Plan:
    """The sizes that cut a call. They follow from shapes and options alone, never from the number of threads.

    Attributes:
        batch, kv_heads: batch items and key/value heads that are computed together.
        rows: query rows of a block.
        keys: keys of a tile.
        blocks: blocks of an item.
        key_pool: keys of one cell of the pictures; a tile is a run of whole cells, or lies in one cell.
    """

    batch: int
    kv_heads: int
    rows: int
    keys: int
    blocks: int
    key_pool: int

    def parts(self, call: Call) -> Iterator[Area]:
        """The call in parts of a bounded number of rows."""
        batch, heads, queries, _ = call.inputs.weights_shape
        kv_heads, groups, limit = call.inputs.k.shape[1], call.groups, ROWS_OF_PART
        whole = limit // (heads * queries)  # batch items that fit
        many = max(self.batch, whole)
        few = kv_heads if whole else max(self.kv_heads, limit // (groups * queries))
        long = queries if groups * queries <= limit else max(self.rows * self.blocks, limit // groups)
        yield from areas(Area(slice(0, batch), slice(0, kv_heads), slice(0, queries), groups), many, few, long)

    def items(self, spans: Spans, part: Area) -> list[Area]:
        """What one thread takes at a time, the most work first."""
        found = areas(part, self.batch, self.kv_heads, self.rows * self.blocks)
        return sorted(found, key=spans.work, reverse=True)


def areas(whole: Area, batch: int, kv_heads: int, rows: int) -> Iterator[Area]:
    """Cut ``whole`` along each axis."""
    for some in ranges(whole.batch, batch):
        for heads in ranges(whole.kv_heads, kv_heads):
            for these in ranges(whole.rows, rows):
                yield Area(some, heads, these, whole.groups)


def make_plan(call: Call, options: InspectOptions, key_pool: int) -> Plan:
    """Sizes for this call: two buffers of a tile's scores that stay in a core's cache, or that fill a GPU.

    A GPU takes as many rows of as many heads at once as a part has: one launch serves them all. In a small call most
    of the time goes into what each tile and each item cost beside their scores, so that there they are few and large.
    """
    batch, _, queries, num_keys = call.inputs.weights_shape
    kv_heads, is_cpu = call.inputs.k.shape[1], call.device.type == "cpu"
    tall, budget = (512, 2**17) if is_cpu else (1024, 2**25)
    if is_small(call.inputs) and options.block_rows is None and options.block_keys is None:
        tall, budget = 2**13, 2**20
    rows = min(options.block_rows or max(1, tall // call.groups), queries)
    at_once = 1 if is_cpu else batch * kv_heads
    wide = max(budget // (at_once * min(call.groups * rows, tall)), 1 if is_cpu else NARROWEST_ON_GPU)
    keys = options.block_keys or key_width(min(num_keys, wide), key_pool)
    stacked = max(1, budget // (call.groups * rows * keys))
    items, heads = (min(batch, stacked // kv_heads), kv_heads) if stacked >= kv_heads else (1, stacked)
    of_block = items * heads * call.groups * rows
    if not is_cpu:
        return Plan(items, heads, rows, keys, max(1, ROWS_OF_PART // of_block), key_pool)
    blocks = -(-batch // items) * -(-kv_heads // heads) * -(-queries // rows)
    quick = SCORES_OF_ITEM // (of_block * num_keys)
    return Plan(items, heads, rows, keys, max(1, min(BLOCKS_OF_ITEM, quick, blocks // ITEMS_AT_LEAST)), key_pool)


def is_small(inputs: AttentionInputs) -> bool:
    """Whether a call is on the CPU, and best inspected by one thread alone."""
    return inputs.q.device.type == "cpu" and math.prod(inputs.weights_shape) <= SMALL


def key_width(about: int, pool: int) -> int:
    """Keys of a tile, near to ``about``: some whole cells of ``pool`` keys, or an even share of one cell."""
    if pool < about:
        return max(1, round(about / pool)) * pool
    return math.ceil(pool / max(1, round(pool / about)))


def key_tiles(first: int, behind: int, size: int, pool: int) -> Iterator[slice]:
    """Cut keys into tiles of at most ``size``: each lies in one cell of the picture, or begins with a cell."""
    while first < behind:
        stop = first + size
        if first % pool or size < pool:
            stop = min(stop, (first // pool + 1) * pool)
        else:
            stop -= stop % pool
        yield slice(first, min(stop, behind))
        first = stop
