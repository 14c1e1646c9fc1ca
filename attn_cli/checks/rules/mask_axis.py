"""ATTN013: a mask whose numbers stand on the wrong axis, where two axes are of one size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from attn_cli.checks.cells import Visible
from attn_cli.checks.evidence import Evidence
from attn_cli.checks.patterns import Pattern
from attn_cli.checks.readings import both_readings, rules_with
from attn_cli.inspection.findings.rules import Rule
from attn_cli.inspection.types import Finding, Place

MASK_AXIS = Rule(
    code="ATTN013",
    name="mask on the wrong axis",
    severity="warning",
    sentence="Two axes have one size, and a mask varies along one of them as padding varies along the other: by head "
    "where there are as many batch items, by query where there are as many batch items or keys.",
    why="A mask broadcasts from the right. One axis too few puts a batch's padding on the heads or on the queries "
    "wherever the sizes happen to agree, and no shape is wrong.",
    example="A padding mask (B, Sk) in place of (B, 1, 1, Sk) with B = Sq: query i of every item sees the keys of item "
    "i.",
    source="NumPy, broadcasting; PyTorch, scaled_dot_product_attention: attn_mask broadcasts to the weights' shape",
)


@dataclass(frozen=True)
class _Doubt:
    """How a mask of the whole call varies, and what it would be on the other axis.

    Attributes:
        what: how it varies.
        other: its numbers on the other axis.
        hint: the remedy.
        place: the first place that looks wrong.
        count: how many there are.
    """

    what: str
    other: Tensor
    hint: str
    place: Place
    count: int


@dataclass(frozen=True)
class MaskAxis:
    """Looks at every mask and every bias of the whole call by itself."""

    rule: Rule = MASK_AXIS

    def find(self, evidence: Evidence) -> Iterator[Finding]:
        """At most one finding for each mask and each bias."""
        index = evidence.within
        for pattern in evidence.patterns:
            doubt = _doubt(pattern, index.total_batch, index.total_heads, index.total_queries)
            if doubt is not None:
                other = rules_with(evidence, {pattern: replace(pattern, numbers=doubt.other)})
                readings = both_readings(evidence, other, "that way")
                head = None if doubt.place.head is None else evidence.head_number(doubt.place.head)
                place = replace(doubt.place, head=head)
                yield self.rule.finding(f"{pattern.label} {doubt.what}: {readings}", place, doubt.count, doubt.hint)


def _doubt(pattern: Pattern, batch: int, heads: int, queries: int) -> _Doubt | None:
    """What is doubtful about a pattern of a call of these sizes, or None."""
    size, seen = tuple(pattern.numbers.shape), pattern.visible
    if size[3] == pattern.num_keys:
        if size[0] == 1 and size[1] == heads == batch > 1 and _is_padding_by_head(seen):
            return _by_head(pattern)
        if size[:2] == (1, 1) and size[2] == queries == batch > 1 and _is_padding_by_query(seen):
            return _by_query(pattern)
    if queries == pattern.num_keys > 1 and size[2] == queries and _hides_queries(seen):
        return _by_row(pattern)
    return None


def _by_head(pattern: Pattern) -> _Doubt:
    """``(1, B, …)`` in place of ``(B, 1, …)``."""
    _, batch, *rest = pattern.numbers.shape
    what = f"differs from head to head as padding does from item to item of a batch, which holds {batch} too"
    hint = f"Give it as {(batch, 1, *rest)} if it holds one entry a batch item."
    partial = pattern.visible.keys[0].sum(dim=-1) < pattern.num_keys  # (Hq,)
    place = Place(pattern.name, head=int(partial.to(torch.int8).argmax()))
    return _Doubt(what, pattern.numbers.transpose(0, 1), hint, place, int(partial.sum()))


def _by_query(pattern: Pattern) -> _Doubt:
    """``(B, Sk)``, which is read as ``(Sq, Sk)``, in place of ``(B, 1, 1, Sk)``."""
    batch, keys = pattern.numbers.shape[2:]
    what = f"differs from query to query as padding does from item to item of a batch, which holds {batch} too"
    hint = f"Give it as {(batch, 1, 1, keys)} if it holds one row a batch item."
    partial = pattern.visible.count[0, 0] < keys  # (Sq,)
    place = Place(pattern.name, query=int(partial.to(torch.int8).argmax()))
    return _Doubt(what, pattern.numbers.transpose(0, 2), hint, place, int(partial.sum()))


def _by_row(pattern: Pattern) -> _Doubt:
    """``(…, S, 1)`` in place of ``(…, 1, S)``."""
    batch, heads, keys, _ = pattern.numbers.shape
    what = "hides whole queries and no key, of which there are as many"
    hint = f"Give it as {(batch, heads, 1, keys)} if it is to hide keys: a mask's last axis is that of the keys."
    hidden = pattern.visible.count == 0
    item, head, row = (int(number) for number in hidden.nonzero()[0])
    place = Place(pattern.name, item if batch > 1 else None, head if heads > 1 else None, row)
    return _Doubt(what, pattern.numbers[..., :1].transpose(2, 3), hint, place, int(hidden.sum()))


def _is_padding_by_head(seen: Visible) -> bool:
    """Each head sees keys from one end on, as many as it likes: as a batch of padded items does.

    All rows of a head are the same, or differ as causal order cuts them, from one first key; of a window they move.
    """
    begins = torch.where(seen.count > 0, seen.first, -1).amax(dim=-1, keepdim=True)  # (1, Hq, 1)
    is_cut_alone = ((seen.first == begins) & (seen.behind - seen.first == seen.count)) | (seen.count == 0)
    if not bool(is_cut_alone.all()):
        return False
    keys = seen.keys[0]  # (Hq, Sk)
    lengths = keys.sum(dim=-1)
    steps = (keys[:, 1:] ^ keys[:, :-1]).sum(dim=-1) <= 1
    one_end = keys[:, 0][lengths > 0].all() or keys[:, -1][lengths > 0].all()
    partial = (lengths > 0) & (lengths < keys.shape[1])
    return bool(steps.all() and one_end and partial.any() and len(torch.unique(lengths)) > 1)


def _is_padding_by_query(seen: Visible) -> bool:
    """Rows of prefixes, or of suffixes, of lengths that neither grow from row to row nor are all the same."""
    prefix, suffix, count = bool(seen.is_prefix.all()), bool(seen.is_suffix.all()), seen.count[0, 0]
    if not (prefix or suffix) or not bool((count > 0).all()) or not bool((count == seen.num_keys).any()):
        return False
    steps = count.diff()
    return bool((steps < 0).any()) if prefix else bool((steps > 0).any())


def _hides_queries(seen: Visible) -> bool:
    """Each row sees all keys or none, and some do and some do not."""
    none, every = seen.count == 0, seen.count == seen.num_keys
    return bool((none | every).all() and none.any() and every.any())
