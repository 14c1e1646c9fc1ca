"""All heads of all modules in the order of one metric."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from attn_cli.inspection.over_calls import HeadSummary

Order = Literal["high", "low"]


def ranked(modules: Sequence[Sequence[HeadSummary]], metric: str, order: Order) -> list[tuple[int, HeadSummary]]:
    """Every head with a finite or infinite value, and the place of its module; equals keep their order.

    Args:
        modules: the heads of every module.
        metric: by whose plain mean over batch and calls to rank.
        order: ``"high"`` begins with the largest, ``"low"`` with the smallest.
    """
    sign = -1 if order == "high" else 1
    known = [
        (number, head)
        for number, heads in enumerate(modules)
        for head in heads
        if not math.isnan(head.values.get(metric, math.nan))
    ]
    return sorted(known, key=lambda pair: sign * pair[1].values[metric])
