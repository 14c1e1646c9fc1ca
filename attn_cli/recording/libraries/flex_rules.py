"""What the functions of a flex_attention call come to: a mask, a softcap and a bias, in their smallest form."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from attn_cli.attention.types import accumulation_dtype
from attn_cli.recording.libraries.flex_cells import FlexCall
from attn_cli.recording.libraries.small_axes import Gathered, refuse_bytes, refuse_cells
from attn_cli.recording.masks.cells import Cells, in_one_walk, narrowed, parts, survey
from attn_cli.recording.masks.forms import Form, find_form

PROBE = 1e30  # a logit that every softcap brings to its bound
LARGEST_CAP = 1e6
ROUNDING = 16  # in units of the dtype's own, times what was added


@dataclass(frozen=True)
class FlexRules:
    """Fields of a RawCall, as it documents them; ``bias`` is exact for this call's own logits."""

    mask: Tensor | None = None
    form: Form = field(default_factory=Form)
    bias: Tensor | None = None
    softcap: float | None = None


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
    return replace(_mask_rules(call, is_constant), bias=_bias(call, is_constant), softcap=softcap)


def _blocks(call: FlexCall) -> Iterator[slice]:
    """Blocks of query rows; a mask_mod alone has cells of its own only for the batch items and heads that it reads."""
    batch, heads, queries, keys = call.shape
    if call.score_mod is None:
        row = call.kept(slice(0, 1))
        assert row is not None
        batch, heads = (row.shape[axis] if row.stride(axis) else 1 for axis in (0, 1))
    return parts(queries, batch * heads * keys)


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
    """Rules where they say it all, else a keep mask."""
    cells = _cells(call, is_constant)
    form = None if cells is None else find_form(cells, call.shape[2])
    if form is not None:
        return FlexRules(form=form)
    gathered = Gathered("a flex_attention mask", call.shape[2])
    for rows in _blocks(call):
        gathered.add(_kept(call, rows, is_constant))
    return FlexRules(mask=gathered.whole())


def _cells(call: FlexCall, is_constant: bool) -> Cells | None:
    """What the rows and columns have in common, or None where heads differ, which no rule says."""
    found = []
    for rows in _blocks(call):
        kept = narrowed(_kept(call, rows, is_constant), (0, 1))  # (B or 1, Hq or 1, r, Sk)
        if kept.shape[1] > 1:
            return None
        found.append(survey(kept))
    return in_one_walk(found)
