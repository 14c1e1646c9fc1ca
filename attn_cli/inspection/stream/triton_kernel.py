"""The Triton kernel of the online-softmax pass: one program for some query rows of one query head.

Imported where it is launched and nowhere else, since Triton is optional. :func:`row_sums` takes

- q ``(b, h, r, D)``, k ``(b, hkv, Sk, D)`` and v ``(b, hkv, Sk, Dv)``, the last axis contiguous, with their strides;
- the rows' visible keys ``(b or 1, r)`` int32, with the stride between items or 0, and places ``(r,)`` int64;
- reference, sums, output and cells as in :class:`attn_cli.inspection.stream.sums.RowSums`, contiguous. Cells get s, not
  s − m, and must be full of HIDDEN, for only those that a block reaches are written;
- the keys of a cell (``pool``), the cells of a row (``columns``) and b·h·r (``all_rows``);
- the scale's sign, ``slope`` (the scale's size, or the softcap), and ``steepness`` (the scale's size over the softcap);
- whether there is a softcap, whether cells are whole tiles, and whether to widen every factor to float32, since the
  interpreter has no product of bfloat16.

What the loop holds in a logit's place, a *level*, is the dot product or, where there is a softcap, its tanh; ``slope``
makes it a logit. So the difference to a row's largest is formed before anything is rounded. A slope is never negative:
the queries carry the scale's sign. Sums over s − m are formed in powers of two.

Every tile of keys lies in one cell of the picture. Tiles that all rows see whole need no mask; they have a loop of
their own, the second of three.
"""

import triton
import triton.language as tl
from triton.language import constexpr, tensor

from attn_cli.inspection.logits import HIDDEN, VISIBLE_ABOVE

_HIDDEN = constexpr(HIDDEN)
_VISIBLE_ABOVE = constexpr(VISIBLE_ABOVE)
_FAR = constexpr(2**31 - 1)
_LOG2_E = constexpr(1.4426950408889634)
_LN_2 = constexpr(0.6931471805599453)


@triton.jit
def row_sums(
    q: tensor, k: tensor, v: tensor, first_keys: tensor, behind_keys: tensor, places: tensor,
    reference: tensor, sums: tensor, output: tensor, cells: tensor,
    q_item: tensor, q_head: tensor, q_row: tensor, k_item: tensor, k_head: tensor, k_row: tensor,
    v_item: tensor, v_head: tensor, v_row: tensor, span_item: tensor,
    heads: tensor, groups: tensor, rows: tensor, num_keys: tensor, pool: tensor, columns: tensor, all_rows: tensor,
    sign: tensor, slope: tensor, steepness: tensor,
    D: constexpr, DV: constexpr, BLOCK_D: constexpr, BLOCK_DV: constexpr,
    BLOCK_M: constexpr, BLOCK_N: constexpr,
    IS_CAPPED: constexpr, FILLS_CELLS: constexpr, WIDENS: constexpr,
) -> None:  # fmt: skip
    """Fill in ``reference``, ``sums``, ``output`` and ``cells``."""
    blocks = tl.cdiv(rows, BLOCK_M)
    block = blocks - 1 - tl.program_id(0) % blocks  # where causal the last ones have the most keys, and begin
    pair = (tl.program_id(0) // blocks).to(tl.int64)
    item, head = pair // heads, pair % heads
    row, feature = block * BLOCK_M + tl.arange(0, BLOCK_M), tl.arange(0, BLOCK_D)
    is_row = row < rows
    first = tl.load(first_keys + item * span_item + row, mask=is_row, other=0)
    behind = tl.load(behind_keys + item * span_item + row, mask=is_row, other=num_keys)
    place = tl.load(places + row, mask=is_row, other=0)
    query = q + item * q_item + head * q_head + row.to(tl.int64)[:, None] * q_row + feature[None, :]
    query = tl.load(query, mask=is_row[:, None] & (feature < D)[None, :], other=0.0)
    query = (query.to(tl.float32) * sign).to(query.dtype)
    k += item * k_item + head // groups * k_head
    v += item * v_item + head // groups * v_head
    row_number = pair * rows + row
    top, peak = tl.full([BLOCK_M], _HIDDEN, tl.float32), tl.full([BLOCK_M], _HIDDEN, tl.float32)
    z, sharp, way = tl.zeros([BLOCK_M], tl.float32), tl.zeros([BLOCK_M], tl.float32), tl.zeros([BLOCK_M], tl.float32)
    mixed = tl.zeros([BLOCK_M, BLOCK_DV], tl.float32)
    begin, whole, ragged, end = _tiles(first, behind, is_row, pool, BLOCK_N)
    for part in tl.static_range(3):
        low = whole if part == 1 else (begin if part == 0 else ragged)
        high = ragged if part == 1 else (whole if part == 0 else end)
        for tile in range(low, high):
            start, stop = _keys_of_tile(tile, pool, num_keys, BLOCK_N)
            top, peak, z, sharp, way, mixed = _take_in(
                query, k, v, start, stop, num_keys, first, behind, place, top, peak, z, sharp, way, mixed,
                k_row, v_row, slope, steepness, D, DV, BLOCK_D, BLOCK_DV, BLOCK_N,
                IS_CAPPED, part != 1, not FILLS_CELLS, WIDENS,
            )  # fmt: skip
            is_done = row < tl.where((start + BLOCK_N >= stop) | (end - 1 == tile), rows, 0)  # with the cell
            found = tl.where(peak > _VISIBLE_ABOVE, peak * slope, _HIDDEN)
            tl.store(cells + row_number * columns + start // pool, found, mask=is_done)
            peak = tl.where(is_done, _HIDDEN, peak)
    _enter(reference, sums, output, row_number, is_row, all_rows, slope, top, z, sharp, way, mixed, DV, BLOCK_DV)


@triton.jit
def _tiles(first: tensor, behind: tensor, is_row: tensor, pool: tensor, BLOCK_N: constexpr) -> tensor:
    """The first tile that any row sees, the first that all see whole, the one behind those, the one behind all."""
    sees = is_row & (behind > first)
    low = tl.min(tl.where(sees, first, _FAR), 0)
    high = tl.max(tl.where(sees, behind, 0), 0)
    end = tl.where(high > 0, _tile_of(high - 1, pool, BLOCK_N) + 1, 0)
    begin = tl.minimum(_tile_of(low, pool, BLOCK_N), end)
    latest_first = tl.max(tl.where(is_row, first, 0), 0)
    earliest_behind = tl.min(tl.where(is_row, behind, _FAR), 0)
    whole = tl.where(latest_first > 0, _tile_of(latest_first - 1, pool, BLOCK_N) + 1, 0)
    whole = tl.minimum(tl.maximum(whole, begin), end)
    ragged = tl.minimum(tl.maximum(_tile_of(earliest_behind, pool, BLOCK_N), whole), end)
    return begin, whole, ragged, end


@triton.jit
def _tile_of(key: tensor, pool: tensor, BLOCK_N: constexpr) -> tensor:
    """The tile of a key, which may be the one behind the last."""
    return key // pool * tl.cdiv(pool, BLOCK_N) + key % pool // BLOCK_N


@triton.jit
def _keys_of_tile(tile: tensor, pool: tensor, num_keys: tensor, BLOCK_N: constexpr) -> tensor:
    """The first key of a tile, and the one behind the last of its cell."""
    per_cell = tl.cdiv(pool, BLOCK_N)
    cell = tile // per_cell
    return cell * pool + tile % per_cell * BLOCK_N, tl.minimum((cell + 1) * pool, num_keys)


@triton.jit
def _take_in(
    query: tensor, k: tensor, v: tensor, start: tensor, stop: tensor, num_keys: tensor,
    first: tensor, behind: tensor, place: tensor,
    top: tensor, peak: tensor, z: tensor, sharp: tensor, way: tensor, mixed: tensor,
    k_row: tensor, v_row: tensor, slope: tensor, steepness: tensor,
    D: constexpr, DV: constexpr, BLOCK_D: constexpr, BLOCK_DV: constexpr, BLOCK_N: constexpr,
    IS_CAPPED: constexpr, HAS_HIDDEN: constexpr, LEAVES_CELLS: constexpr, WIDENS: constexpr,
) -> tensor:  # fmt: skip
    """One tile into what the rows carry: the largest level, that of the cell, and the sums."""
    lane = tl.arange(0, BLOCK_N)
    keys = start + lane
    k += start.to(tl.int64) * k_row
    v += start.to(tl.int64) * v_row
    IS_MASKED: constexpr = HAS_HIDDEN or LEAVES_CELLS
    k_tile = _read(k, k_row, keys < num_keys, D, BLOCK_D, BLOCK_N, IS_MASKED, True)  # (BLOCK_D, BLOCK_N)
    level = _product(query, k_tile, tl.zeros([query.shape[0], BLOCK_N], tl.float32), WIDENS)
    if IS_CAPPED:
        level = _tanh(level * steepness)
    is_visible = (keys < stop)[None, :]
    if HAS_HIDDEN:
        is_visible = is_visible & (keys[None, :] >= first[:, None]) & (keys[None, :] < behind[:, None])
    if IS_MASKED:
        level = tl.where(is_visible, level, _HIDDEN)
    largest = tl.max(level, 1)
    now = tl.maximum(top, largest)
    in_twos = slope * _LOG2_E
    step = tl.where(top > _VISIBLE_ABOVE, (top - now) * in_twos, 0.0)  # before the first visible key all sums are 0
    below = (level - now[:, None]) * in_twos
    if IS_MASKED:
        below = tl.where(is_visible, below, 0.0)
    weight = tl.exp2(below)
    if IS_MASKED:
        weight = tl.where(is_visible, weight, 0.0)
    apart = tl.abs((place - start).to(tl.float32)[:, None] - lane.to(tl.float32)[None, :])
    shrink = tl.exp2(step)
    sharp = (sharp + z * step) * shrink + tl.sum(weight * below, 1)
    z = z * shrink + tl.sum(weight, 1)
    way = way * shrink + tl.sum(weight * apart, 1)
    v_tile = _read(v, v_row, keys < num_keys, DV, BLOCK_DV, BLOCK_N, IS_MASKED, False)  # (BLOCK_N, BLOCK_DV)
    mixed = _product(weight.to(v_tile.dtype), v_tile, mixed * shrink[:, None], WIDENS)
    return now, tl.maximum(peak, largest), z, sharp, way, mixed


@triton.jit
def _read(
    x: tensor, stride: tensor, is_key: tensor, SIZE: constexpr, BLOCK: constexpr, BLOCK_N: constexpr,
    IS_MASKED: constexpr, IS_ACROSS: constexpr,
) -> tensor:  # fmt: skip
    """A tile of K or V, with zeros behind its edges; keys lie across, side by side, or below each other."""
    lane, feature = tl.arange(0, BLOCK_N), tl.arange(0, BLOCK)
    if IS_ACROSS:
        at, is_there = x + lane[None, :] * stride + feature[:, None], is_key[None, :]
        is_feature = (feature < SIZE)[:, None]
    else:
        at, is_there = x + lane[:, None] * stride + feature[None, :], is_key[:, None]
        is_feature = (feature < SIZE)[None, :]
    if IS_MASKED:
        return tl.load(at, mask=is_there & is_feature, other=0.0)
    elif SIZE != BLOCK:
        return tl.load(at, mask=is_feature, other=0.0)
    else:
        return tl.load(at)


@triton.jit
def _product(x: tensor, y: tensor, onto: tensor, WIDENS: constexpr) -> tensor:
    """x · y + onto in float32, without TF32."""
    if WIDENS:
        return tl.dot(x.to(tl.float32), y.to(tl.float32), onto, input_precision="ieee")
    return tl.dot(x, y, onto, input_precision="ieee")


@triton.jit
def _tanh(x: tensor) -> tensor:
    """Near 0 an odd polynomial, off by 3e-9 of the value at most before rounding; elsewhere from an exponential."""
    square = x * x
    curve = -0.05378329 + square * (0.02079462 - 0.00589395 * square)
    near = x + x * (square * (-0.33333298 + square * (0.13331915 + square * curve)))
    small = tl.exp(-2.0 * tl.abs(x))
    far = 1.0 - 2.0 * small / (1.0 + small)
    return tl.where(tl.abs(x) < 0.6, near, tl.where(x < 0.0, -far, far))


@triton.jit
def _enter(
    reference: tensor, sums: tensor, output: tensor, row_number: tensor, is_row: tensor, all_rows: tensor,
    slope: tensor, top: tensor, z: tensor, sharp: tensor, way: tensor, mixed: tensor,
    DV: constexpr, BLOCK_DV: constexpr,
) -> None:  # fmt: skip
    """Write what the rows carried; 0 in a row without any visible key."""
    tl.store(reference + row_number, tl.where(top > _VISIBLE_ABOVE, top * slope, 0.0), mask=is_row)
    tl.store(sums + row_number, sharp * _LN_2, mask=is_row)
    tl.store(sums + all_rows + row_number, z, mask=is_row)
    tl.store(sums + 2 * all_rows + row_number, way, mask=is_row)
    channel = tl.arange(0, BLOCK_DV)
    at = output + row_number[:, None] * DV + channel[None, :]
    tl.store(at, mixed, mask=is_row[:, None] & (channel < DV)[None, :])
