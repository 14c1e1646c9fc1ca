"""What a cosine is made of, added up in float64 without overflow and without underflow."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

FAR = 400  # powers of two this near to 1 square to what a float64 holds
LARGEST = 1000
UNKNOWN = -4000


class Products:
    """The dot product of the two sides of each head, and each side's with itself.

    Where numbers are very large or very small, each side is held divided by a power of two, which a cosine does not
    see.

    Args:
        heads: how many.
        device: where blocks are compared.
    """

    def __init__(self, heads: int, device: torch.device) -> None:
        self._sums = torch.zeros(3, heads, dtype=torch.float64, device=device)
        self._powers = torch.full((2, heads), UNKNOWN, dtype=torch.float64, device=device)

    def add(self, heads: slice, left: Tensor, right: Tensor) -> None:
        """Take in finite values, ``(h, n)`` each, float32 or float64."""
        held = self._powers[:, heads]
        powers = torch.maximum(held, torch.stack([_powers_of(x) for x in (left, right)]))  # (2, h)
        left, right = left.double(), right.double()
        if bool(((powers != 0) | ((held != 0) & (held != UNKNOWN))).any()):
            by_side = torch.exp2(held - powers)
            self._sums[:, heads] *= torch.stack([by_side[0] * by_side[1], by_side[0] ** 2, by_side[1] ** 2])
            scales = torch.exp2(-powers).masked_fill_(powers == UNKNOWN, 1.0)[..., None]  # (2, h, 1)
            left, right = left * scales[0], right * scales[1]
        self._powers[:, heads] = powers
        for place, (one, other) in enumerate(((left, right), (left, left), (right, right))):
            self._sums[place, heads] += torch.linalg.vecdot(one, other)

    def cosines(self) -> list[float]:
        """One a head; NaN where one side is 0 throughout."""
        return [cosine_of(sums) for sums in self._sums.T.tolist()]

    def cosine(self) -> float:
        """That of all heads taken together."""
        by_side = torch.exp2(self._powers - self._powers.amax(dim=1, keepdim=True))
        weights = torch.stack([by_side[0] * by_side[1], by_side[0] ** 2, by_side[1] ** 2])
        sums: list[float] = (self._sums * weights).sum(dim=1).tolist()
        return cosine_of(sums)


def cosine_of(sums: Sequence[float]) -> float:
    """The cosine out of left·right, left·left and right·right."""
    length = math.sqrt(sums[1]) * math.sqrt(sums[2])
    return max(-1.0, min(1.0, sums[0] / length)) if length > 0 else math.nan


def _powers_of(x: Tensor) -> Tensor:
    """The power of two that each row is to be divided by; 0 for all that need it not."""
    largest = x.abs().amax(dim=1).double()  # (h,)
    power = torch.frexp(largest).exponent.double().clamp(-LARGEST, LARGEST)
    power = torch.where(power.abs() > FAR, power, 0.0)
    return torch.where(largest == 0, UNKNOWN, power)
