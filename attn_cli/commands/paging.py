"""What is behind ``--html``: what the page has room for, call by call, and the page itself; torch is imported here."""

from __future__ import annotations

import math
from collections.abc import Sequence

from attn_cli.attention.masks import MaskRule
from attn_cli.attention.types import ModuleInputs
from attn_cli.inputs.loading import CallPlan
from attn_cli.inputs.types import LoadedCall
from attn_cli.inspection.budget import LISTED_PAIRS, BudgetPlanner, CallSize
from attn_cli.inspection.options import DetailOptions
from attn_cli.reporters.failures import say
from attn_cli.reporters.html import PageRequest, WrittenPage, write_page
from attn_cli.reporters.html.page import own_parts
from attn_cli.reporters.html.story import Story
from attn_cli.reporters.html.texts import text_size
from attn_cli.reporters.terminal.text import harmless
from attn_cli.results import RunResult

BYTES_OF_WORDS = 14_000  # the definitions of the metrics and labels


class PagePlan:
    """Shares a page out among the calls that are still to be loaded.

    Args:
        request: the page.
        sizes: for each call a number that grows with its weights.
        top: strongest pairs that are listed of each head, where they are more than the page lists anyhow.
    """

    def __init__(self, request: PageRequest, sizes: Sequence[float], top: int) -> None:
        self._planner = BudgetPlanner(request.budget - own_parts().size - BYTES_OF_WORDS, sizes)
        self._top = listed_pairs(top)

    @classmethod
    def of(cls, request: PageRequest | None, plans: Sequence[CallPlan], top: int) -> PagePlan | None:
        """The plan of the calls of a file; None where there is to be no page."""
        return None if request is None else cls(request, [relative_size(plan) for plan in plans], top)

    def next(self, call: LoadedCall) -> DetailOptions:
        """What the next call is to give for the page."""
        return self._planner.plan(call_size(call, self._top))


def listed_pairs(top: int) -> int:
    """How many of a head's strongest pairs a page lists where the report lists ``top``."""
    return max(top, LISTED_PAIRS)


def write_out(result: RunResult, request: PageRequest, story: Story | None = None) -> None:
    """Write the page; a warning goes to standard error."""
    warn(request, write_page(result, request.path, request.budget, story=story))


def warn(request: PageRequest, written: WrittenPage) -> None:
    """Tell on standard error what the writer of a page should know."""
    if written.warning is not None:
        say(f"attn: warning: {harmless(request.path)}: {written.warning}")


def relative_size(plan: CallPlan) -> float:
    """The numbers in q times those in k: in calls of one model they grow as Sq · Sk does, in any layout."""
    q, k, _ = plan.infos
    return float(math.prod(q.shape) * math.prod(k.shape))


def call_size(call: LoadedCall, top: int) -> CallSize:
    """What of a call is to be shown."""
    inputs, selection = call.inputs, call.selection
    if isinstance(inputs, ModuleInputs):
        batch, heads = len(inputs.queries), inputs.num_heads
    else:
        batch, heads = inputs.q.shape[:2]
    items = range(batch) if selection.batch is None else selection.batch
    return CallSize(
        batch=len(items),
        heads=heads if selection.heads is None else len(selection.heads),
        queries=len(inputs.rules.mask.places) if selection.queries is None else len(selection.queries),
        keys=inputs.rules.mask.num_keys,
        top=top,
        text=text_size(call.tokens, items),
        visible=_visible_share(inputs.rules.mask),
    )


def _visible_share(mask: MaskRule) -> float:
    """The share of all pairs that order, window and lengths leave visible."""
    first, behind = mask.interval()
    return float((behind - first).double().mean()) / mask.num_keys
