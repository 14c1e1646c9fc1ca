"""What stands for the objects that the pickle of a ``.pt`` file would make, while it is followed.

Free of torch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from attn_cli.inputs.limits import MOST_AXES, MOST_NAMES

FARTHEST = 2**63


class RefusedError(Exception):
    """The program does what no file of plain tensors needs; says what."""


@dataclass(frozen=True)
class Named:
    """Something of Python's that the program names."""

    name: str


@dataclass(frozen=True)
class Storage:
    """Where the numbers of a tensor are.

    Attributes:
        key: its name in the file.
        size: in bytes.
        item_size: bytes of one number.
    """

    key: str
    size: int
    item_size: int


class Sign:
    """Stands for an object that nothing is asked of."""


@dataclass(eq=False)
class Filled(Sign):
    """Stands for what others may be filled from.

    Attributes:
        items: how many.
        odd: what they count for as keys (`oddness`).
    """

    items: int = 0
    odd: float = 0


class Dict(Filled):
    """Stands for a dict."""


class Counter(Dict):
    """Stands for a dict that has no attributes."""


class List(Filled):
    """Stands for a list, which a set may be made of."""


@dataclass(eq=False)
class Bytes(Sign):
    """Stands for so many bytes."""

    size: int


def oddness(key: Any, depth: int = 0) -> float:
    """How many odd keys it counts for.

    Texts, tuples of them and small whole numbers count for none, other tuples for one and their items. Python draws the
    hashes of texts anew for each process. Those of other values are known beforehand, so that thousands can be chosen
    that take as long to be found as there are of them squared. It is infinite for what is no plain value; a tuple may
    hold itself many times.
    """
    if isinstance(key, str):
        return 0
    if isinstance(key, int) and abs(key) < FARTHEST:
        return 0 if 0 <= key < MOST_NAMES else 1
    if isinstance(key, tuple) and depth == 0 and len(key) <= MOST_AXES:
        if key and all(isinstance(item, str) for item in key):
            return 0
        return 1 + sum(1 + oddness(item, 1) for item in key)
    return 1 if key is None or isinstance(key, (float, Named)) else math.inf
