"""Which rules hide which keys from one query, and why."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from attn_cli.attention.masks import HIDING, MOST_CONSTANTS, UNLIMITED, MaskRule
from attn_cli.attention.types import Rules
from attn_cli.explanation.types import Cause, CauseKind


@dataclass(frozen=True)
class Hider:
    """One rule that the row is under.

    Attributes:
        kind: which rule.
        hidden: ``(Sk,)`` bool, the keys that it hides from the query.
        of_row: what it says, for the whole row.
        of_key: the same of one key; ``{key}`` stands for its number, ``{number}`` for what is added to its logit.
        numbers: ``(Sk,)``, what is added to the logits, where the rule is to add something.
    """

    kind: CauseKind
    hidden: Tensor
    of_row: str
    of_key: str
    numbers: Tensor | None = None

    def cause(self, key: int | None) -> Cause:
        """It as a cause, of the row or of one key's being hidden."""
        number = "" if key is None or self.numbers is None else f"{float(self.numbers[key]):.6g}"
        sentence = self.of_row if key is None else self.of_key.format(key=key, number=number)
        return Cause(self.kind, sentence, int(self.hidden.sum()))


def hiders(rules: Rules, batch: int) -> tuple[Hider, ...]:
    """Every rule that one row is under, in the order in which they are told; each may hide no key at all.

    Args:
        rules: of one batch item, one head and one query.
        batch: the batch item's number.
    """
    mask = rules.mask
    found = (*_order(mask), *_length(mask, batch), *_keep(mask), *_bias(rules.bias, mask.num_keys))
    return (*found, *_constant(rules.bias, visible_keys(found, mask.num_keys)))


def causes(every: tuple[Hider, ...], key: int | None = None) -> tuple[Cause, ...]:
    """The rules that hide this key, or any key."""
    return tuple(hider.cause(key) for hider in every if bool(hider.hidden.any() if key is None else hider.hidden[key]))


def visible_keys(every: tuple[Hider, ...], num_keys: int) -> Tensor:
    """The keys that no rule hides, ``(Sk,)`` bool."""
    visible = torch.ones(num_keys, dtype=torch.bool)
    for hider in every:
        visible &= ~hider.hidden
    return visible


def _order(mask: MaskRule) -> list[Hider]:
    """Causal order and the window, told by the query's aligned place."""
    place, keys = int(mask.places[0]), torch.arange(mask.num_keys)
    found = []
    if mask.causal:
        of_row = f"causal order: keys after this query's aligned place {place}"
        of_key = f"causal order: key {{key}} comes after this query's aligned place {place}"
        found.append(Hider("causal", keys > place, of_row, of_key))
    left, right = (UNLIMITED, UNLIMITED) if mask.window is None else mask.window
    if left != UNLIMITED:
        first = place - left
        of_row = f"window: keys before {first}, {left} to the left of this query's aligned place {place}"
        found.append(Hider("window left", keys < first, of_row, of_row.replace("keys before", "key {key} lies before")))
    if right != UNLIMITED:
        last = place + right
        of_row = f"window: keys after {last}, {right} to the right of this query's aligned place {place}"
        found.append(Hider("window right", keys > last, of_row, of_row.replace("keys after", "key {key} lies after")))
    return found


def _length(mask: MaskRule, batch: int) -> list[Hider]:
    if mask.valid_lens is None:
        return []
    length, total = int(mask.valid_lens.flatten()[0]), mask.num_keys
    whose = f"batch item {batch}" if mask.valid_lens.dim() == 1 else "this query"
    of_row = f"valid length: {whose} has {length} valid keys of {total}, counted from key 0"
    hidden = torch.arange(total) >= length
    return [Hider("valid length", hidden, of_row, f"{of_row}; key {{key}} is not one of them")]


def _keep(mask: MaskRule) -> list[Hider]:
    if mask.keep is None:
        return []
    hidden = ~mask.keep[0, 0, 0].expand(mask.num_keys)
    return [Hider("keep mask", hidden, "keep mask: keys where it is False", "keep mask: it is False at key {key}")]


def _bias(bias: Tensor | None, num_keys: int) -> list[Hider]:
    """A bias hides where it is −∞; one that does so nowhere in this row is no such rule."""
    if bias is None:
        return []
    hidden = (bias[0, 0, 0] == -torch.inf).expand(num_keys)
    if not bool(hidden.any()):
        return []
    return [Hider("bias", hidden, "bias: keys where it is −∞", "bias: it is −∞ at key {key}")]


def _constant(bias: Tensor | None, visible: Tensor) -> list[Hider]:
    """A finite mask constant hides a key beside others that it is not added to; added to all, it cancels out."""
    if bias is None:
        return []
    numbers = bias[0, 0, 0].expand(len(visible))
    hidden = is_constant(numbers)
    different = sorted(set(numbers[hidden].tolist()))
    if not 1 <= len(different) <= MOST_CONSTANTS or not bool((visible & ~hidden).any()):
        return []
    told = " or ".join(f"{number:.6g}" for number in different)
    of_row = f"bias: keys where it is {told}, a mask constant: practically hidden"
    of_key = "bias: it is {number} at key {key}, a mask constant: practically hidden"
    return [Hider("mask constant", hidden, of_row, of_key, numbers)]


def is_constant(numbers: Tensor) -> Tensor:
    """Which numbers of a bias are there to hide a key and yet finite."""
    return (numbers <= HIDING) & (numbers > -torch.inf)
