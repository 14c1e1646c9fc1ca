"""Signs that a mask was read the wrong way round."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from attn_cli.attention.types import Rules
from attn_cli.checks.cells import Order
from attn_cli.checks.patterns import Pattern
from attn_cli.inputs.types import LoadedCall
from attn_cli.inspection.findings.rules import counted
from attn_cli.inspection.types import Place, Severity

FEWEST_ROWS = 3  # two rows can look like anything
KEEP_DIAGONAL = "Keep the diagonal: torch.ones(S, S).tril() is what may be attended to, .triu(1) is what is hidden."


@dataclass(frozen=True)
class Sign:
    """Why a mask looks inverted.

    Attributes:
        what: what it does, for a sentence that begins with the mask.
        place: the first place, in the whole call.
        count: how many places there are.
        hint: the remedy, where it is not the other reading.
        severity: where it is milder than the rule's.
    """

    what: str
    place: Place
    count: int
    hint: str | None = None
    severity: Severity | None = None


def first_sign(pattern: Pattern, call: LoadedCall) -> Sign | None:
    """The first sign that a pattern of the whole call shows, or None."""
    signs: tuple[Callable[[Pattern, LoadedCall], Sign | None], ...] = (
        _hides_everything,
        _shows_the_future_alone,
        _shows_padding_alone,
        _shows_one_token_alone,
        _hides_the_diagonal,
    )
    return next((sign for sign in (look(pattern, call) for look in signs) if sign is not None), None)


def offsets_of(rules: Rules) -> tuple[int, ...]:
    """Where a mask of the whole call may see its queries on the axis of the keys: query i at key i + offset.

    With as many queries as keys that is each on its own key. Otherwise a mask does not say, and every alignment in use
    is tried.
    """
    mask = rules.mask
    offsets = {mask.num_keys - len(mask.places)}
    if len(mask.places) != mask.num_keys:
        offsets |= {0, int(mask.places[0])}
    return tuple(sorted(offsets))


def _hides_everything(pattern: Pattern, call: LoadedCall) -> Sign | None:
    """``nn.MultiheadAttention``'s mask of a batch without padding: all False."""
    count = pattern.visible.count
    if bool(count.any()) or pattern.num_keys < 2:
        return None
    rows = count.numel() if pattern.has_rows else count.numel() * len(call.inputs.rules.mask.places)
    return Sign("hides every key from every query", Place(), rows)


def _shows_the_future_alone(pattern: Pattern, call: LoadedCall) -> Sign | None:
    """The strict upper triangle, whole or with padding taken out."""
    if not pattern.has_rows:
        return None
    orders = [pattern.cells.order(offset) for offset in offsets_of(call.inputs.rules)]
    if not all(bool(order.after.any()) for order in orders):
        return None  # at one of the alignments in use nothing is wrong
    for order in orders:
        inside = (order.places >= 0) & (order.places < pattern.num_keys)
        past = ((order.before > 0) | order.own) & inside
        seeing = inside & (order.after > 0)
        at_once = (seeing & order.next).sum(dim=-1) * 2 >= seeing.sum(dim=-1)  # (b, h)
        found = ~past.any(dim=-1) & seeing.any(dim=-1) & at_once & (inside.sum() >= FEWEST_ROWS)
        of_item = found.all(dim=1)  # a head that looks back and one that looks ahead are a design
        if bool(of_item.any()):
            return _future_sign(order, of_item)
    return None


def _future_sign(order: Order, of_item: Tensor) -> Sign:
    after = order.after * of_item[:, None, None]  # (b, h, Sq)
    batch, head, query = (int(number) for number in after.nonzero()[0])
    place = Place(
        batch=batch if after.shape[0] > 1 else None,
        head=head if after.shape[1] > 1 else None,
        query=query,
        key=int(order.first_after[batch, head, query]),
    )
    some = "" if bool(of_item.all()) else f" in {int(of_item.sum())} of {counted(len(of_item), 'batch item')}"
    return Sign(f"shows each query the keys after its own place alone{some}", place, int(after.sum()))


def _shows_padding_alone(pattern: Pattern, _: LoadedCall) -> Sign | None:
    """Of each item the keys from some key on: left padding, if no item were hidden wholly and one wholly visible."""
    visible = pattern.visible
    if visible.count.shape[0] == 1 or not visible.is_same_for_every_query or not bool(visible.is_suffix.all()):
        return None
    count = visible.count[..., 0]  # (B, h)
    hidden = count == 0
    if not bool(hidden.any()) or bool((count == visible.num_keys).any()):
        return None
    item = int(hidden.any(dim=1).to(torch.int8).argmax())
    whole = counted(int(hidden.any(dim=1).sum()), "batch item")
    what = f"hides {whole} wholly and shows of the others the last keys alone, where padding stands"
    return Sign(what, Place(batch=item), int(hidden.any(dim=1).sum()))


def _shows_one_token_alone(pattern: Pattern, call: LoadedCall) -> Sign | None:
    """Visible keys of one repeated token id beside hidden ones of many: padding is seen and text is not."""
    tokens = call.inputs.token_ids
    if tokens is None:
        return None
    tokens = tokens.cpu()
    seen = pattern.visible.keys.any(dim=1).expand(tokens.shape)  # (B, Sk)
    ids, hidden = torch.unique(tokens[seen]), torch.unique(tokens[~seen])
    most = seen.sum(dim=-1)
    if len(ids) != 1 or len(hidden) < 2 or int(most.max()) < 2:
        return None
    item = int((most >= 2).to(torch.int8).argmax())
    key = int(seen[item].to(torch.int8).argmax())
    what = f"shows keys of the token id {int(ids[0])} alone and hides {counted(len(hidden), 'different id')}"
    return Sign(what, Place(batch=item, key=key), int(seen.sum()))


def _hides_the_diagonal(pattern: Pattern, call: LoadedCall) -> Sign | None:
    """Causal but for the query's own key; or its complement, which sees its own key and the future."""
    rows = len(call.inputs.rules.mask.places)
    if not pattern.has_rows or rows != pattern.num_keys or rows < FEWEST_ROWS:
        return None
    order = pattern.cells.order(0)
    behind, first = pattern.visible.behind, pattern.visible.first
    seeing = order.before > 0
    strict = ~order.own.any(dim=-1) & ~(order.after > 0).any(dim=-1)
    at_once = (seeing & (behind == order.places)).sum(dim=-1) * 2 >= seeing.sum(dim=-1)
    if bool((strict & seeing.any(dim=-1) & at_once).all()):
        what = "shows each query the keys before its own place and hides its own"
        return Sign(what, Place(query=0, key=0), rows, KEEP_DIAGONAL)
    full = order.own & (first == order.places) & (order.after == rows - 1 - order.places)
    if bool(full.all()):
        what = "shows each query its own key and those after it, and none before"
        hint = "If causal order was meant, it is the other way round: torch.ones(S, S).tril() may be attended to."
        return Sign(what, Place(query=0, key=1), int(order.after.sum()), hint, "info")
    return None
