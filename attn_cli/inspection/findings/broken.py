"""How numbers that are not finite are found and told."""

from __future__ import annotations

import torch
from torch import Tensor

INPUT_HINT = (
    "Look where this tensor was computed: an overflow in half precision or a division by 0 is the usual source."
)
ROW_HINT = "The row cannot be used; the finding on the inputs, where there is one, says where it began."


def is_above(x: Tensor) -> Tensor:
    """NaN or +∞; −∞ hides a key and is no fault."""
    return ~(x < torch.inf)


def first_of(marked: Tensor) -> int:
    """The first True of ``(n,)``, or 0."""
    return int(marked.to(torch.int8).argmax())


def kind_of(x: Tensor) -> str:
    """Which of the numbers that are not finite ``x`` holds."""
    if bool(x.isnan().any()):
        return "NaN"
    return "+∞" if bool((x == torch.inf).any()) else "−∞"
