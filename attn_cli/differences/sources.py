"""Where the values of one side come from: a tensor that is there, or weights formed block by block."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from attn_cli.attention import textbook
from attn_cli.attention.selection import Selection, select
from attn_cli.attention.types import AttentionInputs, accumulation_dtype

WIDE_WHOLE_NUMBERS = (torch.uint16, torch.uint32, torch.uint64)


class Source(Protocol):
    """Values of every head, asked for by rows: ``(B, H, R, C)`` as a whole."""

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Batch items, heads, rows, columns."""

    @property
    def dtype(self) -> torch.dtype:
        """The dtype that the values were given in."""

    @property
    def value_dtype(self) -> torch.dtype:
        """The dtype that blocks have."""

    @property
    def device(self) -> torch.device:
        """Where they are."""

    def block(self, items: slice, heads: slice, rows: slice) -> Tensor:
        """The rows of some heads of some batch items, item by item: ``(b·h, r, C)``."""


@dataclass(frozen=True)
class Stored:
    """Values that are there.

    Attributes:
        x: ``(B, H, R, C)``, any dtype, mapped or not.
    """

    x: Tensor

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Batch items, heads, rows, columns."""
        batch, heads, rows, columns = self.x.shape
        return batch, heads, rows, columns

    @property
    def dtype(self) -> torch.dtype:
        """Their own."""
        return self.x.dtype

    @property
    def value_dtype(self) -> torch.dtype:
        """Their own."""
        return self.x.dtype

    @property
    def device(self) -> torch.device:
        """Where they are."""
        return self.x.device

    def block(self, items: slice, heads: slice, rows: slice) -> Tensor:
        """A view of them, where strides allow it."""
        return self.x[items, heads, rows].flatten(0, 1)


@dataclass(frozen=True)
class Computed:
    """The weights that the definition gives, formed when they are asked for, in the accumulation dtype.

    Attributes:
        inputs: the call or a selection of it, in the dtype and on the device that its kernel runs in.
    """

    inputs: AttentionInputs

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """``(B, Hq, Sq, Sk)``."""
        return self.inputs.weights_shape

    @property
    def dtype(self) -> torch.dtype:
        """That of Q, K and V, which decides how exact the weights can be."""
        return self.inputs.q.dtype

    @property
    def value_dtype(self) -> torch.dtype:
        """The accumulation dtype."""
        return accumulation_dtype(self.dtype)

    @property
    def device(self) -> torch.device:
        """Where Q and K are."""
        return self.inputs.q.device

    def block(self, items: slice, heads: slice, rows: slice) -> Tensor:
        """The weights of these rows, by the textbook."""
        part = Selection(*(tuple(range(one.start, one.stop)) for one in (items, heads, rows)))
        return textbook.attend(select(self._wide, part)).weights.flatten(0, 1)  # (b·h, r, Sk)

    @cached_property
    def _wide(self) -> AttentionInputs:
        """The inputs in the accumulation dtype, converted once; of V only what the textbook cannot do without."""
        return replace(self.inputs, v=self.inputs.v[..., :1]).to(self.device, self.value_dtype)


def as_numbers(
    left: Tensor, right: Tensor, device: torch.device, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Two blocks as floating numbers that can be subtracted, on one device.

    Whole numbers beyond 2⁵³ have no float64 of their own, so that those of 64 bits come with their own |left − right|.
    """
    if is_whole(left.dtype) and is_whole(right.dtype) and max(left.dtype.itemsize, right.dtype.itemsize) == 8:
        (high, low), (other_high, other_low) = (_halves(x.to(device)) for x in (left, right))
        gap = ((high - other_high) * 2.0**32 + (low - other_low)).abs_()
        return high * 2.0**32 + low, other_high * 2.0**32 + other_low, gap
    one, other = (_floating(x.to(device), dtype) for x in (left, right))
    return one, other, None


def _floating(x: Tensor, dtype: torch.dtype) -> Tensor:
    if x.dtype != torch.uint64:
        return _computable(x).to(dtype)
    high, low = _halves(x)
    return (high * 2.0**32 + low).to(dtype)


def is_whole(dtype: torch.dtype) -> bool:
    """Whether a dtype has whole numbers or booleans."""
    return not dtype.is_floating_point and not dtype.is_complex


def _halves(x: Tensor) -> tuple[Tensor, Tensor]:
    """The upper and the lower 32 bits of whole numbers, each exact in float64: ``x = upper·2³² + lower``."""
    bits = _computable(x).to(torch.int64)
    upper = bits >> 32
    if x.dtype == torch.uint64:
        upper = upper & 0xFFFFFFFF
    return upper.double(), (bits & 0xFFFFFFFF).double()


def _computable(x: Tensor) -> Tensor:
    """The same values in a dtype that PyTorch computes with; the bits of 64-bit numbers without a sign."""
    if x.dtype in WIDE_WHOLE_NUMBERS:
        return x.view(torch.int64) if x.dtype == torch.uint64 else x.to(torch.int64)
    return x
