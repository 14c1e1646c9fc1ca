"""ATTN011: a mask that is causal but for some cells."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from attn_cli.attention.types import CallIndex
from attn_cli.checks.cells import Order
from attn_cli.checks.evidence import Evidence
from attn_cli.checks.inversion import places_of
from attn_cli.checks.patterns import all_rules
from attn_cli.inspection.findings.rules import Rule, counted
from attn_cli.inspection.types import Finding, Place

FEWEST_ROWS = 3  # of fewer, causal order cannot be told from chance
LARGEST_CHANCE = -6.0  # log10 of the chance that cells hidden at random look causal
SMALLEST_BLOCK = 3  # queries that all see each other: a prefix or an image; two of them may as well be a fault
FUTURE_LEAK = Rule(
    code="ATTN011",
    name="sees the future",
    severity="warning",
    sentence="A mask or an additive mask is causal for most queries, but lets some of them see later keys. Blocks of "
    "three and more queries that all see each other (a prefix, an image) are taken to be meant.",
    why="A language model that sees one later token in training learns to copy it: its loss is too good, and what it "
    "generates is not.",
    example="torch.ones(S, S).tril(1) in place of .tril(0): each query sees the next token.",
    source="Vaswani 2017, section 3.2.3: leftward information flow must be prevented",
)


@dataclass(frozen=True)
class FutureLeak:
    """Looks at what mask and bias leave visible; causal order that is asked for by name cannot leak."""

    rule: Rule = FUTURE_LEAK

    def find(self, evidence: Evidence) -> Iterator[Finding]:
        """At most one finding."""
        rules = evidence.call.inputs.rules
        window = rules.mask.window
        shapes = [pattern for pattern in evidence.patterns if pattern.has_rows]
        if not shapes or rules.mask.causal or (window is not None and window[1] == 0):
            return
        cells = all_rules(replace(rules, mask=replace(rules.mask, window=None)))
        orders = [cells.order(places) for places in places_of(rules)]
        order = max(orders, key=lambda one: int(_ends_at_own(one, rules.mask.num_keys).sum()))
        leaks = _leaks(order, rules.mask.num_keys)  # (b, h, Sq)
        here = leaks & _selected(leaks, evidence.index)
        if bool(here.any()):
            yield self._finding(shapes[0].name, order, here)

    def _finding(self, name: str, order: Order, leaks: Tensor) -> Finding:
        batch, head, query = (int(number) for number in leaks.nonzero()[0])
        key, own = int(order.first_after[batch, head, query]), int(order.places[query])
        count, rows = int((order.after * leaks).sum()), int(leaks.sum())
        place = Place(
            tensor=name,
            batch=batch if leaks.shape[0] > 1 else None,
            head=head if leaks.shape[1] > 1 else None,
            query=query,
            key=key,
        )
        message = (
            f"the {name} is causal but for {counted(count, 'cell')} in {counted(rows, 'query row')}: query {query} "
            f"sees key {key}, which comes after its own place {own}"
        )
        is_shifted = rows >= FEWEST_ROWS and bool((order.next[leaks] & (order.after[leaks] == 1)).all())
        hint = "Hide every key after a query's own place: --causal, or torch.ones(S, S).tril() as what may be seen."
        if is_shifted:
            hint = "The diagonal is one too far: torch.ones(S, S).tril(0) is what may be seen, .triu(1) what is hidden."
        return self.rule.finding(message, place, count, hint)


def _leaks(order: Order, num_keys: int) -> Tensor:
    """Rows of causal-looking masks that see a later key, bool ``(b, h, Sq)``; blocks that are meant are left out."""
    touching = order.own & (order.places + 1 < num_keys)
    rows, past, later = touching.sum(dim=-1), order.before.sum(dim=-1), order.after.sum(dim=-1)  # (b, h)
    ends = _ends_at_own(order, num_keys).sum(dim=-1)
    is_causal = (rows >= FEWEST_ROWS) & (3 * ends >= 2 * rows) & (past >= 4 * later) & _is_no_chance(order, num_keys)
    scattered = is_causal[..., None] & (order.after > 0) & ~_in_blocks(order)
    return scattered | (_is_shifted(order, num_keys)[..., None] & (order.after > 0))


def _ends_at_own(order: Order, num_keys: int) -> Tensor:
    """Rows that see the key at their own place and not the one behind it, bool ``(b, h, Sq)``."""
    return order.own & ~order.next & (order.places + 1 < num_keys)


def _is_no_chance(order: Order, num_keys: int) -> Tensor:
    """Whether most later keys are hidden, and by more than chance, with keys as often visible as the earlier ones.

    Returns:
        bool, ``(b, h)``.
    """
    places = order.places.clamp(-1, num_keys - 1)
    earlier_cells, later_cells = int(places.clamp(min=0).sum()), int((num_keys - 1 - places).sum())
    later = order.after.sum(dim=-1)
    share = order.before.sum(dim=-1).double() / max(1, earlier_cells)
    chance = torch.log10(1 - share) * (later_cells - later)  # of hiding so many
    return (4 * later <= later_cells) & (chance <= LARGEST_CHANCE)


def _is_shifted(order: Order, num_keys: int) -> Tensor:
    """Masks in which each query sees all keys up to the one after its own, ``(b, h)``; only where Sq = Sk."""
    touching = order.own & (order.places + 2 < num_keys)
    rows = touching.sum(dim=-1)
    is_next_alone = (~touching | (order.next & (order.after == 1))).all(dim=-1)
    sees_past = (touching & (order.before == order.places)).sum(dim=-1) * 3 >= rows * 2
    return is_next_alone & sees_past & (rows >= FEWEST_ROWS) & (len(order.places) == num_keys)


def _in_blocks(order: Order) -> Tensor:
    """Rows of blocks of queries that all see each other and nothing later, bool ``(b, h, Sq)``.

    In such a block every row sees all keys from its own to the same last one, whose query is the block's last row.
    """
    places = order.places.expand(order.after.shape)
    last = torch.where(order.after > 0, order.last_after, places)
    is_whole = order.own & (order.after == last - places)
    key = torch.where(is_whole, last, -1 - torch.arange(places.shape[-1]))  # what breaks a run is unlike all others
    starts = torch.ones_like(order.own)
    starts[..., 1:] = key[..., 1:] != key[..., :-1]
    numbers = torch.arange(places.shape[-1]).expand(places.shape)
    begin = torch.where(starts, numbers, 0).cummax(dim=-1).values  # the first row of each row's run
    ends = torch.ones_like(starts)
    ends[..., :-1] = starts[..., 1:]
    end = torch.where(ends, numbers, places.shape[-1]).flip(-1).cummin(dim=-1).values.flip(-1)
    is_closed = places.gather(-1, end) == last
    return is_whole & is_closed & (last - places.gather(-1, begin) + 1 >= SMALLEST_BLOCK)


def _selected(marked: Tensor, index: CallIndex) -> Tensor:
    """True in the rows that were selected."""
    chosen = torch.zeros_like(marked)
    batch, heads = (
        torch.tensor(own) if size > 1 else torch.tensor([0])
        for own, size in zip((index.batch, index.heads), marked.shape[:2], strict=True)
    )
    chosen[batch[:, None, None], heads[:, None], index.queries] = True
    return chosen
