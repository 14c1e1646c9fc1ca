"""The inspected weights times V against the output of the kernel that ran."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from attn_cli.attention.blocks import row_blocks
from attn_cli.attention.types import CallIndex, Rules, accumulation_dtype
from attn_cli.inspection.drowned import drowned_rows
from attn_cli.inspection.findings.rules import KERNEL_DISAGREES, counted, place_in_call
from attn_cli.inspection.types import Finding, Place, Verification

VALUES_AT_ONCE = 2**22
ROUNDINGS = 8
Value = tuple[int, int, int, int]  # batch item, head, row and feature, in numbers of the selection
LOGIT_ROUNDINGS = 256


def verify(
    inspection_output: Tensor,
    kernel_output: Tensor,
    against: str,
    dtype: torch.dtype,
    index: CallIndex,
    rules: Rules | None = None,
) -> Verification:
    """Compare two outputs of the same call value by value, in float64.

    The tolerance is ``(8·eps(dtype) + 256·eps(accumulation dtype))·max abs(output)``. The first term is what the
    kernel's dtype explains: rounding its weights, their products with V and the output costs half an eps each, with
    some room. The second is what both pay in the accumulation dtype, where a logit of size L is off by about L·eps
    and its exponential by that share: room for logits up to some hundreds. Both terms follow the output's own size.
    Where that is exceeded, the largest difference is that of the other rows if a finite mask constant hides every key
    of some: they hold no more of a logit than the constant's own step leaves (:func:`drowned_rows`).

    Args:
        inspection_output: ``(B, Hq, Sq, Dv)``, the inspected weights times V.
        kernel_output: the same shape, on any device.
        against: the kernel's name.
        dtype: that the kernel ran in.
        index: where the selection sits in the whole call.
        rules: the call's, where a bias may hide keys.
    """
    found = _compare(inspection_output, kernel_output, against, dtype, index)
    drowned = None
    if rules is not None and found.max_abs_error > found.tolerance:
        drowned = drowned_rows(rules)
    if drowned is None or not bool(drowned.any()):
        return found
    return _compare(inspection_output, kernel_output, against, dtype, index, drowned)


def _compare(
    inspection_output: Tensor,
    kernel_output: Tensor,
    against: str,
    dtype: torch.dtype,
    index: CallIndex,
    left_out: Tensor | None = None,
) -> Verification:
    """See :func:`verify`; ``left_out``, ``(B or 1, Hq or 1, Sq)``, are rows whose differences do not count."""
    worst, largest, disagreements = -math.inf, 0.0, 0
    inspected, returned = math.nan, math.nan
    place: Value | None = None
    first: Value | None = None
    batch, heads, queries, size = inspection_output.shape
    for rows in row_blocks(queries, batch * heads * size, VALUES_AT_ONCE):
        start = rows.start
        ours, theirs = (x[:, :, rows].cpu().double() for x in (inspection_output, kernel_output))
        difference = (ours - theirs).abs_()  # (B, Hq, r, Dv)
        peak = float(difference.max())
        if left_out is None and math.isfinite(peak):  # then so is every value of both
            if peak > worst:
                worst, place = peak, _at(difference, start)
            largest = max(largest, float(ours.abs_().max()))
            continue
        is_finite = ours.isfinite()
        lonely = is_finite ^ theirs.isfinite()  # (B, Hq, r, Dv)
        sound = is_finite & ~lonely
        disagreements += int(lonely.sum())
        if bool(lonely.any()) and first is None:
            first = _at(lonely.to(torch.int8), start)
            inspected, returned = (_value(x, first, start) for x in (ours, theirs))
        if left_out is not None:
            sound = sound & ~left_out[:, :, rows, None]
        difference = torch.where(sound, difference, -math.inf)
        if float(difference.max()) > worst:
            worst, place = float(difference.max()), _at(difference, start)
        largest = max(largest, float(torch.where(is_finite, ours.abs(), 0.0).max()))
    explained = ROUNDINGS * torch.finfo(dtype).eps + LOGIT_ROUNDINGS * torch.finfo(accumulation_dtype(dtype)).eps
    where = first or place
    return Verification(
        max_abs_error=worst if place is not None else math.nan,
        against=against,
        disagreements=disagreements,
        place=Place() if where is None else replace(place_in_call(index, None, *where[:3]), feature=where[3]),
        tolerance=explained * largest,
        inspected=inspected,
        returned=returned,
    )


def verification_finding(verification: Verification) -> Finding | None:
    """ATTN005: an error where one of the two outputs alone is finite, a warning where they are too far apart."""
    against = verification.against
    if verification.disagreements:
        values = counted(verification.disagreements, "output value")
        inspected, returned = verification.inspected, verification.returned
        message = (
            f"{against} returns {_number(returned)} where the inspected weights times V are {_number(inspected)}; "
            f"{values} of the two {'is' if verification.disagreements == 1 else 'are'} finite in one of them only"
        )
        hint = f"Trust the inspected values: {against} {_what_it_does(inspected)}."
        return KERNEL_DISAGREES.finding(message, verification.place, verification.disagreements, hint)
    if verification.max_abs_error > verification.tolerance:
        message = (
            f"the output of {against} differs from the inspected weights times V by up to "
            f"{verification.max_abs_error:.3g}, more than the {verification.tolerance:.3g} that its dtype explains"
        )
        hint = "Compare with another backend or in a wider dtype to see which of the two is off."
        return KERNEL_DISAGREES.finding(message, verification.place, None, hint, severity="warning")
    return None


def _at(x: Tensor, start: int) -> Value:
    """Where the largest entry of ``(B, Hq, r, Dv)`` is, the first of equals; ``start`` is the number of row 0."""
    _, heads, rows, size = x.shape
    row, feature = divmod(int(x.flatten().argmax()), size)
    return row // (heads * rows), row // rows % heads, start + row % rows, feature


def _value(x: Tensor, at: Value, start: int) -> float:
    batch, head, row, feature = at
    return float(x[batch, head, row - start, feature])


def _number(x: float) -> str:
    if math.isnan(x):
        return "NaN"
    return f"{x:.6g}" if math.isfinite(x) else ("+∞" if x > 0 else "−∞")


def _what_it_does(inspected: float) -> str:
    """What a kernel does whose value and the inspected one are finite in one of the two only."""
    if math.isfinite(inspected):
        return "overflows where float32 does not, or lets a NaN through that the mask hides"
    return "hides a fault of q, k or v, where the definition gives a number that is not finite"
