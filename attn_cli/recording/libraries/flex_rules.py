"""What the functions of a flex_attention call come to: a mask, a softcap and a bias, in their smallest form."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from attn_cli.attention.types import accumulation_dtype
from attn_cli.recording.libraries.flex_cells import FlexCall
from attn_cli.recording.libraries.small_axes import Gathered, narrowed, refuse_bytes, refuse_cells, row_blocks
from attn_cli.recording.types import Align

PROBE = 1e30  # a logit that every softcap brings to its bound
LARGEST_CAP = 1e6
ROUNDING = 16  # in units of the dtype's own, times what was added


@dataclass(frozen=True)
class FlexRules:
    """Fields of a RawCall, as it documents them; ``bias`` is exact for this call's own logits."""

    mask: Tensor | None = None
    bias: Tensor | None = None
    valid_lens: Tensor | None = None
    causal: Align | None = None
    window: tuple[int, int] | None = None
    softcap: float | None = None


class _Intervals(NamedTuple):
    """Rows that each keep one run of keys: first key and the one behind the last, ``(B or 1, Hq or 1, Sq)``."""

    first: Tensor
    behind: Tensor


def flex_rules(call: FlexCall) -> FlexRules:
    """Evaluate a call's score_mod and mask_mod over all its cells.

    The score_mod s ↦ s + b becomes the bias b, s ↦ c·tanh(s/c) + b a softcap and a bias, and any other what it adds to
    the logits of this very call. What it brings to −∞ is hidden.

    Raises:
        PassedOver: they cannot be evaluated, or what they come to is too large to keep.
    """
    batch, heads, queries, keys = call.shape
    if not batch * heads * queries * keys:
        return FlexRules()
    if call.score_mod is None:
        refuse_cells(queries * keys, "a mask_mod")
        return FlexRules() if call.mask_mod is None else _mask_rules(call)
    refuse_cells(batch * heads * queries * keys, "a score_mod")
    softcap, is_constant = _form(call)
    mask = _mask_rules(call, is_constant)
    return FlexRules(mask.mask, _bias(call, is_constant), mask.valid_lens, mask.causal, mask.window, softcap)


def _blocks(call: FlexCall) -> Iterator[slice]:
    """Blocks of query rows; a mask_mod alone has cells of its own only for the batch items and heads that it reads."""
    batch, heads, queries, keys = call.shape
    if call.score_mod is None:
        row = call.kept(slice(0, 1))
        assert row is not None
        batch, heads = (row.shape[axis] if row.stride(axis) else 1 for axis in (0, 1))
    return row_blocks(batch * heads * keys, queries)


def _form(call: FlexCall) -> tuple[float | None, bool]:
    """The softcap, or None, and whether the rest is a bias that does not depend on the logits."""
    for softcap in (None, *_caps(call)):
        if all(_fits(call, rows, softcap) for rows in _blocks(call)):
            return softcap, True
    return None, False


def _caps(call: FlexCall) -> list[float]:
    """Bounds that the score_mod seems to bring large logits to: rounded as people write them, and as found."""
    rows = next(_blocks(call))
    at_zero = call.at(0.0, rows)
    bounds = call.at(PROBE, rows) - at_zero  # (B, Hq, r, Sk)
    is_bound = (bounds > 0) & (bounds < LARGEST_CAP)
    if not bool(is_bound.any()):
        return []
    away = torch.where(is_bound, at_zero.abs(), torch.inf)  # the least bias costs the fewest digits
    found = float(bounds.flatten()[away.argmin()])
    return list(dict.fromkeys((float(f"{found:.6g}"), found)))


def _fits(call: FlexCall, rows: slice, softcap: float | None) -> bool:
    """Whether the score_mod only adds to these rows' (capped) logits what it gives for a logit of 0."""
    logits = call.logits(rows)
    capped = logits if softcap is None else softcap * torch.tanh(logits / softcap)
    given, added = call.modified(logits, rows), call.at(0.0, rows)
    expected = capped + added
    if torch.equal(given, expected):
        return True
    bound = ROUNDING * torch.finfo(logits.dtype).eps * (capped.abs() + added.abs())
    is_same = torch.where(added == -torch.inf, given == -torch.inf, (given - expected).abs() <= bound)
    return bool((is_same | ~logits.isfinite()).all())


def _added(call: FlexCall, rows: slice, is_constant: bool) -> Tensor:
    """What the score_mod adds to these rows' logits, −∞ where it hides."""
    if is_constant:
        return call.at(0.0, rows)
    logits = call.logits(rows)
    given = call.modified(logits, rows)
    hides = (given == -torch.inf) & (logits != -torch.inf)
    return torch.where(logits.isfinite(), given - logits, 0.0).masked_fill(hides, -torch.inf)


def _bias(call: FlexCall, is_constant: bool) -> Tensor | None:
    """What the score_mod adds, 0 where it hides; four axes that broadcast, or None where it adds nothing."""
    if not is_constant:
        batch, heads, queries, keys = call.shape
        refuse_bytes(batch * heads * queries * keys, accumulation_dtype(call.q.dtype), "a score_mod's bias")
    gathered = Gathered("a score_mod's bias", call.shape[2])
    for rows in _blocks(call):
        added = narrowed(_added(call, rows, is_constant), (0, 1))
        gathered.add(added.masked_fill(added == -torch.inf, 0.0))
    bias = gathered.whole()
    return bias if bool(bias.any()) else None


def _kept(call: FlexCall, rows: slice, is_constant: bool) -> Tensor:
    """The cells of these rows that neither function hides, bool ``(B, Hq, r, Sk)``."""
    kept = call.kept(rows)
    if call.score_mod is None:
        assert kept is not None
        return kept
    seen = _added(call, rows, is_constant) != -torch.inf
    return seen if kept is None else kept & seen


def _mask_rules(call: FlexCall, is_constant: bool = True) -> FlexRules:
    """Causal order, a window or valid lengths where they say it all, else a keep mask."""
    runs = _runs(call, is_constant)
    rules = None if runs is None else _interval_rules(runs, call.shape[3], call.shape[0])
    if rules is not None:
        return rules
    gathered = Gathered("a flex_attention mask", call.shape[2])
    for rows in _blocks(call):
        gathered.add(_kept(call, rows, is_constant))
    return FlexRules(mask=gathered.whole())


def _runs(call: FlexCall, is_constant: bool) -> _Intervals | None:
    """The run of keys that each row keeps, or None where one keeps something else."""
    runs = []
    for rows in _blocks(call):
        run = _intervals(narrowed(_kept(call, rows, is_constant), (0, 1)))
        if run is None:
            return None
        runs.append(run)
    return _joined(runs)


def _intervals(kept: Tensor) -> _Intervals | None:
    """Each row's run of keys, or None where a row keeps something else; an empty row's run is 0, 0."""
    num_keys = kept.shape[-1]
    first = kept.to(torch.uint8).argmax(dim=-1)  # (B or 1, H or 1, r), of several the first
    behind = num_keys - kept.flip(-1).to(torch.uint8).argmax(dim=-1)
    is_empty = ~kept.gather(-1, first[..., None])[..., 0]
    first, behind = first.masked_fill(is_empty, 0), behind.masked_fill(is_empty, 0)
    keys = torch.arange(num_keys, dtype=torch.int32, device=kept.device)
    run = (keys >= first.int()[..., None]) & (keys < behind.int()[..., None])
    return _Intervals(first, behind) if torch.equal(run, kept) else None


def _joined(runs: list[_Intervals]) -> _Intervals:
    batch, heads = (max(run.first.shape[axis] for run in runs) for axis in (0, 1))
    parts = ([x.expand(batch, heads, -1) for x in column] for column in zip(*runs, strict=True))
    return _Intervals(*(torch.cat(part, dim=2) for part in parts))


def _interval_rules(runs: _Intervals, num_keys: int, batch: int) -> FlexRules | None:
    """The rules that leave exactly these runs, or None where there are none so simple."""
    first, behind = (narrowed(x, (1,)) for x in runs)  # (B or 1, 1, Sq)
    if first.shape[1] > 1 or behind.shape[1] > 1:
        return None
    ordered = _ordered(first, behind, num_keys, batch)
    if ordered is not None:
        return ordered
    if bool(first.any()):
        return None
    lens = behind[:, 0].expand(batch, -1)  # (B, Sq)
    if bool((lens == num_keys).all()):
        return FlexRules()
    return FlexRules(valid_lens=lens[:, 0] if bool((lens == lens[:, :1]).all()) else lens)


def _ordered(first: Tensor, behind: Tensor, num_keys: int, batch: int) -> FlexRules | None:
    """Causal order, with or without a window and valid lengths ``(B,)``, where they say it all."""
    queries = behind.shape[-1]
    lens = behind.amax(dim=-1, keepdim=True)  # (B or 1, 1, 1)
    valid_lens = None if bool((lens == num_keys).all()) else lens[:, 0, 0].expand(batch)
    offsets: dict[Align, int] = {"bottom-right": num_keys - queries, "top-left": 0}
    for align, offset in offsets.items():
        places = torch.arange(queries, device=behind.device) + offset  # (Sq,)
        last = torch.minimum((places + 1).clamp(min=0), lens)
        if bool((behind == last).all()) and bool((last < lens).any()):
            if not bool(first.any()):
                return FlexRules(causal=align, valid_lens=valid_lens)
            left = int((places - first).max())
            if left >= 0 and bool((first == torch.where(behind == 0, 0, (places - left).clamp(min=0))).all()):
                return FlexRules(causal=align, window=(left, -1), valid_lens=valid_lens)
    return None
