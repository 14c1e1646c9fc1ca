"""What still counts as equal, by dtype, and how far apart a dtype's numbers lie."""

from __future__ import annotations

import torch
from torch import Tensor

from attn_cli.attention.types import dtype_name
from attn_cli.differences.types import Tolerance

# (rtol, atol) of torch.testing.assert_close: https://docs.pytorch.org/docs/stable/testing.html
TOLERANCES: dict[torch.dtype, tuple[float, float]] = {
    torch.float16: (1e-3, 1e-5),
    torch.bfloat16: (1.6e-2, 1e-5),
    torch.float32: (1.3e-6, 1e-5),
    torch.float64: (1e-7, 1e-7),
    torch.complex64: (1.3e-6, 1e-5),
    torch.complex128: (1e-7, 1e-7),
}


def coarser(left: torch.dtype, right: torch.dtype) -> torch.dtype:
    """The dtype whose numbers lie farther apart; one without fractions gives way to one that has them."""
    if not right.is_floating_point and not right.is_complex:
        return left
    if not left.is_floating_point and not left.is_complex:
        return right
    return left if torch.finfo(left).eps >= torch.finfo(right).eps else right


def tolerance_of(left: torch.dtype, right: torch.dtype, atol: float | None, rtol: float | None) -> Tolerance:
    """The tolerance of the coarser of two dtypes, each part replaced where it was asked for.

    Whole numbers and booleans have none and are never given one: a token id is the same or another. Other dtypes that
    ``torch.testing`` has no defaults for, the eight-bit floats, have to be equal unless a tolerance was asked for.
    """
    dtype = coarser(left, right)
    if not dtype.is_floating_point and not dtype.is_complex:
        return Tolerance(0.0, 0.0, dtype_name(dtype))
    own_rtol, own_atol = TOLERANCES.get(dtype, (0.0, 0.0))
    return Tolerance(own_atol if atol is None else atol, own_rtol if rtol is None else rtol, dtype_name(dtype))


def spacing(size: Tensor, dtype: torch.dtype) -> Tensor:
    """The distance between neighbouring numbers of ``dtype`` at ``size``: one ULP (unit in the last place).

    Args:
        size: finite numbers from 0, in float32 or float64.
        dtype: a floating dtype.

    Returns:
        eps·2^⌊log₂ size⌋, and below the smallest normal number the spacing of the subnormal ones.
    """
    limits = torch.finfo(dtype)
    bits, exponent = (torch.int64, 0x7FF << 52) if size.dtype == torch.float64 else (torch.int32, 0xFF << 23)
    power = (size.clamp(min=limits.smallest_normal).view(bits) & exponent).view(size.dtype)  # 2^⌊log₂ size⌋
    return power.mul_(limits.eps)
