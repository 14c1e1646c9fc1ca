"""ATTN011: a mask that is causal but for some cells."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from attn_cli.attention.types import CallIndex
from attn_cli.checks.cells import Order, Visible
from attn_cli.checks.evidence import Evidence
from attn_cli.checks.inversion import offsets_of
from attn_cli.checks.patterns import Pattern, all_rules
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
    "three and more queries that all see each other (a prefix, an image) are taken to be meant; that each query sees "
    "the same number of later keys, two or more, is told as info.",
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
        cells = all_rules(replace(rules.mask, window=None), evidence.patterns)
        orders = [_attended(cells.order(offset), cells.visible) for offset in offsets_of(rules)]
        order = max(orders, key=lambda one: int(_ends_at_own(one, rules.mask.num_keys).sum()))
        shift = _shift(order, cells.visible)  # (b, h)
        leaks = _leaks(order, rules.mask.num_keys) | ((shift > 0)[..., None] & (order.after > 0))  # (b, h, Sq)
        here = leaks & _selected(leaks, evidence.within)
        if bool(here.any()):
            yield self._finding(evidence, shapes[0], order, here, shift)

    def _finding(self, evidence: Evidence, pattern: Pattern, order: Order, leaks: Tensor, shift: Tensor) -> Finding:
        batch, head, query = (int(number) for number in leaks.nonzero()[0])
        key, own = int(order.first_after[batch, head, query]), int(order.places[query])
        count, rows = int((order.after * leaks).sum()), int(leaks.sum())
        place = Place(
            tensor=pattern.name,
            batch=batch if leaks.shape[0] > 1 else None,
            head=evidence.head_number(head) if leaks.shape[1] > 1 else None,
            query=query,
            key=key,
        )
        message = (
            f"{pattern.label} is causal but for {counted(count, 'cell')} in {counted(rows, 'query row')}: query "
            f"{query} sees key {key}, which comes after its own place {own}"
        )
        shifts = torch.unique(shift[leaks.any(dim=-1)]).tolist()
        ahead = 0 if 0 in shifts else max(shifts)
        if ahead > 1:
            message = f"{message}; each query sees up to {ahead} later keys"
        return self.rule.finding(message, place, count, _hint(ahead), "info" if ahead > 1 else None)


def _hint(ahead: int) -> str:
    """The remedy where each query sees so many later keys, or where only some do, 0."""
    if ahead == 0:
        return "Hide every key after a query's own place: --causal, or torch.ones(S, S).tril() as what may be seen."
    if ahead == 1:
        return "The diagonal is one too far: torch.ones(S, S).tril(0) is what may be seen, .triu(1) what is hidden."
    return f"Nothing is wrong if queries are meant to look ahead; else the diagonal is {ahead} too far."


def _attended(order: Order, visible: Visible) -> Order:
    """The order without rows that padding left without any key, and that were then given all of them.

    Hugging Face's ``AttentionMaskConverter._unmask_unattended`` does so with the rows of padding on the left. Such a
    row sees all keys, and no row that does not sees the key at its place.
    """
    is_full = visible.count == visible.num_keys  # (b, h, Sq)
    begin = torch.where(is_full, visible.num_keys, visible.first).amin(dim=-1, keepdim=True)  # (b, h, 1)
    kept = ~(is_full & (order.places < begin)) | is_full.all(dim=-1, keepdim=True)
    return replace(
        order,
        before=order.before * kept,
        after=order.after * kept,
        own=order.own & kept,
        next=order.next & kept,
    )


def _leaks(order: Order, num_keys: int) -> Tensor:
    """Rows of causal-looking masks that see a later key, bool ``(b, h, Sq)``; blocks that are meant are left out."""
    touching = order.own & (order.places + 1 < num_keys)
    rows, past, later = touching.sum(dim=-1), order.before.sum(dim=-1), order.after.sum(dim=-1)  # (b, h)
    ends = _ends_at_own(order, num_keys).sum(dim=-1)
    is_causal = (rows >= FEWEST_ROWS) & (3 * ends >= 2 * rows) & (past >= 4 * later) & _is_no_chance(order, num_keys)
    return is_causal[..., None] & (order.after > 0) & ~_in_blocks(order)


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


def _shift(order: Order, visible: Visible) -> Tensor:
    """How many later keys each query sees where all see as many, as far as there are some; else 0.

    Only where Sq = Sk. Padding, on either side, may take keys off.

    Returns:
        int64, ``(b, h)``.
    """
    shift, rows = order.after.amax(dim=-1), order.own.sum(dim=-1)  # (b, h)
    end = visible.behind.amax(dim=-1)[..., None]  # of the keys that any row sees
    begin = torch.where(order.own, visible.first, visible.num_keys).amin(dim=-1)[..., None]
    left = (end - 1 - order.places).clamp(min=0)  # later keys there are
    is_next = order.after == torch.minimum(shift[..., None], left)
    is_next &= (order.after == 0) | (order.last_after == order.places + order.after)
    sees_past = ((order.before == order.places - begin) & order.own).sum(dim=-1) * 3 >= rows * 2
    limited = (order.own & (left > shift[..., None])).sum(dim=-1)
    found = (is_next | ~order.own).all(dim=-1) & sees_past & (limited >= FEWEST_ROWS)
    return torch.where(found & (len(order.places) == visible.num_keys), shift, 0)


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
