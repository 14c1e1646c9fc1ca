"""A call's mask in the smallest form that says exactly the same.

Programs hand over dense masks, mostly one for all layers: causal order, padding or a window written out cell by cell.
What rules can say is said by rules, and a float mask that only hides keys becomes a keep mask; what is left stays as it
was, without the axes that broadcasting adds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from attn_cli.attention.masks import HIDING, UNLIMITED, MaskRule, aligned_places
from attn_cli.inputs.settings import BOTTOM_RIGHT
from attn_cli.recording.masks.bands import Band, Order, in_words, offset_of
from attn_cli.recording.masks.cells import (
    blocks,
    every_row_sees,
    is_repeated,
    narrowed,
    survey,
    unexpanded,
    visible_cells,
    weakest_hiding,
)
from attn_cli.recording.masks.forms import NO_BAND, Form, find_form
from attn_cli.recording.masks.remembered import Remembered
from attn_cli.recording.types import RawCall

VANISHES = -750.0  # its exponential is 0 also in float64


@dataclass(frozen=True)
class SmallMask:
    """Who may attend to whom, and what is added to the logits; tensors on the device of the call.

    Attributes:
        valid_lens, keep, causal, window: as in :class:`~attn_cli.attention.masks.MaskRule`.
        align: ``"bottom-right"``, ``"top-left"`` or N, the places that causal order and the window stand at.
        bias: float, four axes that broadcast to ``(B, Hq, Sq, Sk)``, or None.
    """

    valid_lens: Tensor | None = None
    keep: Tensor | None = None
    causal: bool = False
    align: str | int = BOTTOM_RIGHT
    window: tuple[int, int] | None = None
    bias: Tensor | None = None

    def rule(self, num_queries: int, num_keys: int, device: torch.device) -> MaskRule:
        """The same as attention takes it."""
        places = aligned_places(num_queries, num_keys, self.align).to(device)
        return MaskRule(num_keys, places, self.valid_lens, self.keep, self.causal, self.window)


@dataclass(frozen=True)
class _Meaning:
    """What a dense mask was found to mean; holds none of the mask's own memory.

    Attributes:
        weakest: the largest number that hides a key: −inf for booleans, None for a bias that does more than hide.
        sees: whether each row sees a key.
        form: the mask as rules, or None.
        repeated: axes along which the numbers are all the same.
        keep: the keep mask where no rule says it and the mask is in floats.
    """

    weakest: float | None
    sees: bool = True
    form: Form | None = None
    repeated: tuple[int, ...] = ()
    keep: Tensor | None = None

    def without_repeats(self, mask: Tensor) -> Tensor:
        for axis in self.repeated:
            mask = mask.narrow(axis, 0, 1)
        return mask


def small_mask(raw: RawCall) -> SmallMask:
    """All that hides keys in a call, or is added to its logits, in the smallest form.

    A float mask becomes a keep mask only where that changes no weight: its constant is −inf, or so low that the
    exponential of every hidden logit is 0 beside that of a visible one, in each row. Where a row sees no key, a finite
    constant leaves it weights, and where Q or K is not finite no constant is low enough, not even −inf: it stays a
    bias.

    Its work is linear in the size of the masks themselves and, where they are in floats, of Q and K; what was found out
    about a mask is remembered until others come, for the next layer comes with the same one; see :func:`forget`.
    """
    bias = None if raw.bias is None else _small_bias(unexpanded(raw.bias))
    if raw.mask is None:
        return _combined(raw, raw.form, None, bias)
    mask = unexpanded(raw.mask)
    meaning = _meanings.of(mask, (raw.q.shape[2], raw.k.shape[2]))
    mask = meaning.without_repeats(mask)
    if meaning.weakest is not None:
        small = _combined(raw, meaning.form or Form(), _kept(meaning, mask), bias)
        if mask.dtype == torch.bool or _hides_exactly(raw, meaning, small):
            return small
    return _combined(raw, Form(), None, _sum(bias, mask))


def _kept(meaning: _Meaning, mask: Tensor) -> Tensor | None:
    """The cells themselves where no rule says them."""
    if meaning.form is not None:
        return None
    return visible_cells(mask) if meaning.keep is None else meaning.keep


def _meaning(mask: Tensor, sizes: tuple[int, int]) -> _Meaning:
    """Find out what a mask of four axes means in a call of ``sizes`` (Sq, Sk)."""
    weakest = -torch.inf if mask.dtype == torch.bool else weakest_hiding(mask)
    if not weakest <= HIDING:
        return _Meaning(None, repeated=_repeated(mask, (0, 1, 2)))
    repeated = _repeated(mask, (1,))
    mask = mask.narrow(1, 0, 1) if repeated else mask
    form, sees = None, None
    if mask.shape[1] == 1:
        cells = survey(mask.expand(*mask.shape[:3], sizes[1]))
        form, sees = find_form(cells, sizes[0]), bool((cells.count > 0).all())
    if form is None:
        repeated += _repeated(mask, (0, 2))
    sees = every_row_sees(mask) if sees is None else sees
    meaning = _Meaning(weakest, sees, form, repeated)
    if form is not None or mask.dtype == torch.bool:
        return meaning
    return _Meaning(weakest, sees, form, repeated, visible_cells(meaning.without_repeats(mask)))


_meanings = Remembered(_meaning)


def forget() -> None:
    """Let go what was remembered of masks: copies of the latest ones."""
    _meanings.forget()


def _repeated(x: Tensor, axes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(axis for axis in axes if is_repeated(x, axis))


def _small_bias(bias: Tensor) -> Tensor | None:
    """The bias without axes along which it is the same; None where it adds nothing."""
    bias = narrowed(bias, (0, 1, 2))
    adds = any(bool((bias[place] != 0).any()) for place in blocks(bias))
    return bias if adds else None


def _sum(one: Tensor | None, other: Tensor) -> Tensor | None:
    """Both biases; None where they add nothing. Half types are added in float32, which keeps their digits."""
    added = _small_bias(other)
    if one is None or added is None:
        return added if one is None else one
    dtype = torch.promote_types(torch.promote_types(one.dtype, added.dtype), torch.float32)
    return one.to(dtype) + added.to(dtype)


def _combined(raw: RawCall, form: Form, keep: Tensor | None, bias: Tensor | None) -> SmallMask:
    """What the mask says together with the call's own causal order, window and valid lengths."""
    device, (batch, _, queries, _), keys = raw.q.device, raw.q.shape, raw.k.shape[2]
    lens = _least_lengths(
        _small_lengths(raw.valid_lens, keys), None if form.valid_lens is None else form.valid_lens.to(device), batch
    )
    kept = keep if form.keys is None else form.keys.to(device)
    order = _order(raw, form.band, queries, keys)
    if order is None:
        order, lens = Order(), torch.zeros(batch, dtype=torch.int64, device=device)
    make = partial(SmallMask, causal=order.causal, align=order.align, window=order.window)
    return make(valid_lens=lens, keep=kept, bias=bias)


def _order(raw: RawCall, band: Band, queries: int, keys: int) -> Order | None:
    """The call's own order and the mask's as one; None where together they leave no query any key."""
    window = None if raw.window == (UNLIMITED, UNLIMITED) else raw.window
    align = raw.causal or BOTTOM_RIGHT
    own = Order(raw.causal is not None, window, align)
    if band == NO_BAND:
        return own
    both = band & Band.of(own.causal, window, offset_of(align, queries, keys))
    return None if both.is_empty else in_words(both, queries, keys, align)


def _small_lengths(lens: Tensor | None, keys: int) -> Tensor | None:
    """Valid lengths as ``(B,)`` where they are the same for all queries; None where they hide nothing."""
    if lens is None:
        return None
    lens = lens.to(torch.int64).clamp(0, keys)
    if lens.dim() == 2 and bool((lens == lens[:, :1]).all()):
        lens = lens[:, 0]
    return None if bool((lens == keys).all()) else lens


def _least_lengths(one: Tensor | None, other: Tensor | None, batch: int) -> Tensor | None:
    """The keys that both leave, ``(B,)`` or ``(B, Sq)``."""
    if one is None or other is None:
        lens = other if one is None else one
    elif one.dim() == other.dim():
        lens = torch.minimum(one, other)
    else:
        lens = torch.minimum(*(x[:, None] if x.dim() == 1 else x for x in (one, other)))
    return None if lens is None else lens.expand(batch, *lens.shape[1:]).contiguous()


def _hides_exactly(raw: RawCall, meaning: _Meaning, small: SmallMask) -> bool:
    """Whether hiding does what adding the mask does.

    To −inf it does where logits are finite: NaN and +∞ become NaN there. To another constant, where every row sees a
    key, beside which the exponential of a logit that was hidden by the constant is 0.
    """
    assert meaning.weakest is not None  # asked of masks that hide
    if meaning.weakest == -torch.inf:
        return math.isfinite(_largest_logit(raw))
    if not meaning.weakest + 2 * _largest_logit(raw) + _spread(small.bias) < VANISHES:
        return False
    is_alone = raw.causal is None and raw.window is None and raw.valid_lens is None
    return meaning.sees and (is_alone or _leaves_a_key(raw, small))


def _leaves_a_key(raw: RawCall, small: SmallMask) -> bool:
    rule = small.rule(raw.q.shape[2], raw.k.shape[2], raw.q.device)
    steps = (slice(start, start + 256) for start in range(0, raw.q.shape[2], 256))
    return all(bool((rule.visible_keys(rows) > 0).all()) for rows in steps)


def _largest_logit(raw: RawCall) -> float:
    """What no logit exceeds, by the lengths of the vectors; infinite or NaN where Q or K is not finite."""
    longest = [_longest(x) for x in (raw.q, raw.k)]
    scale = raw.q.shape[-1] ** -0.5 if raw.scale is None else abs(raw.scale)
    bound = longest[0] * longest[1] * scale
    return bound if raw.softcap is None else bound * 0 + min(bound, raw.softcap)


def _longest(x: Tensor) -> float:
    dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
    return float(torch.linalg.vector_norm(x, dim=-1, dtype=dtype).amax())


def _spread(bias: Tensor | None) -> float:
    """By how much a bias can change the difference of two logits."""
    if bias is None:
        return 0.0
    low, high = torch.aminmax(bias)
    return float(high) - float(low)
