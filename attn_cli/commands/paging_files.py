"""What the page of ``attn check`` or ``attn diff`` has room for: several files, and calls on two sides."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from attn_cli.checks.runner import Shown
from attn_cli.commands.paging import BYTES_OF_WORDS, call_size, relative_size
from attn_cli.inputs.loading import CallPlan
from attn_cli.inputs.types import LoadedCall
from attn_cli.inspection.budget import BYTES_OF_PAIR, LISTED_PAIRS, BudgetPlanner
from attn_cli.inspection.options import DetailOptions, InspectOptions
from attn_cli.reporters.html import PageRequest
from attn_cli.reporters.html.page import own_parts

BYTES_OF_RULES = 24_000
BYTES_OF_FINDINGS = 16_000
BYTES_OF_NUMBERS = 900  # of a head that is compared, with the map of its differences


def shown_as(detail: DetailOptions) -> InspectOptions:
    """What of a call is to be inspected for a page."""
    return InspectOptions(LISTED_PAIRS, False, False, detail.picture_rows, detail.picture_columns, detail=detail)


class FilesPlan:
    """Shares a page out among files that are opened one after another.

    Each gets as much as every other that is still to come; what it leaves goes to those, and so does all that a file
    would have had that cannot be read.

    Args:
        request: the page.
    """

    def __init__(self, request: PageRequest) -> None:
        self._room = float(request.budget - own_parts().size - BYTES_OF_WORDS - BYTES_OF_RULES - BYTES_OF_FINDINGS)
        self._share, self._planner = 0.0, BudgetPlanner(0, ())

    @contextmanager
    def one_of(self, files: int) -> Iterator[None]:
        """Within it the calls of the next file are planned, the first of so many; where it fails they need no room."""
        self._share = self._room / files
        self._planner = BudgetPlanner(int(self._share), ())
        yield
        self._room += max(0.0, self._planner.room) - self._share

    def of_file(self, plans: Sequence[CallPlan]) -> FilesPlan:
        """The same plan, for these calls."""
        self._planner = BudgetPlanner(int(self._share), [relative_size(plan) for plan in plans])
        return self

    def next(self, call: LoadedCall, load_ms: float) -> Shown:
        """What is to be shown of the file's next call."""
        return Shown(shown_as(self._planner.plan(call_size(call, LISTED_PAIRS))), load_ms)


class PairsPlan:
    """Shares a page out among calls that are compared: both sides get the same, so that they can be subtracted.

    Args:
        request: the page.
        sizes: for each pair of calls a number that grows with its weights.
    """

    def __init__(self, request: PageRequest, sizes: Sequence[float]) -> None:
        self._planner = BudgetPlanner(request.budget - own_parts().size - BYTES_OF_WORDS - BYTES_OF_FINDINGS, sizes)

    def __call__(self, left: LoadedCall, right: LoadedCall | None) -> InspectOptions:
        """What is to be inspected of the next pair; None is a side without pictures."""
        sizes = [call_size(call, LISTED_PAIRS) for call in (left, right) if call is not None]
        size = max(sizes, key=lambda one: one.bytes_of_all)
        numbers = math.ceil(BYTES_OF_NUMBERS / BYTES_OF_PAIR / len(sizes))  # listed beside the strongest pairs
        both = replace(size, batch=size.batch * len(sizes), top=LISTED_PAIRS + numbers, maps=(len(sizes) + 1) / 2)
        return shown_as(self._planner.plan(both))
