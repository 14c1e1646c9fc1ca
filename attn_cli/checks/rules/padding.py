"""ATTN020: padding that is attended to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from attn_cli.attention.selection import Selection, select
from attn_cli.checks.evidence import Evidence
from attn_cli.checks.padded import Padding, padding_of
from attn_cli.checks.pieces import pieces
from attn_cli.inspection.findings.rules import Rule, counted, place_in_call
from attn_cli.inspection.types import Finding, Place

LEAST_WEIGHT = 1e-3  # of a row; a finite constant that leaks less than that is ATTN010's
PADDING_SEEN = Rule(
    code="ATTN020",
    name="padding is attended to",
    severity="warning",
    sentence="Token ids, or keys that are all the same, show padding at an end of some batch items, and queries that "
    "are no padding themselves give it weight.",
    why="Padding then dilutes the weights of real tokens, by more the longer it is: a text's output depends on the "
    "texts that it is batched with.",
    example="A batch of texts padded with id 0 on the left is run without its attention_mask.",
    source="TransformerLens issues 240 and 385",
)


@dataclass(frozen=True)
class _Seen:
    """The weight that one batch item's padding gets.

    Attributes:
        mean, largest: of a row's weight, over the rows that are no padding.
        place: the row that gives it most, in the whole call.
    """

    mean: float
    largest: float
    place: Place


@dataclass(frozen=True)
class PaddingSeen:
    """Looks for padding, then at the weight it gets from all queries or an even sample of them."""

    rule: Rule = PADDING_SEEN

    def find(self, evidence: Evidence) -> Iterator[Finding]:
        """At most one finding, for the item whose padding gets most."""
        found = padding_of(evidence)
        seen = {item: _seen(evidence, item, padding) for item, padding in found.items()}
        attended = {item: one for item, one in seen.items() if one is not None}
        if not attended:
            return
        item = max(attended, key=lambda one: attended[one].largest)
        worst, padding = attended[item], found[item]
        keys = sum(found[one].size for one in attended)
        message = (
            f"{counted(len(attended), 'batch item')} {'has' if len(attended) == 1 else 'have'} padding that queries "
            f"attend to: batch item {evidence.index.batch[item]} {padding.text}, which get{'s' * (padding.size == 1)} "
            f"{worst.mean:.1%} of the weight on average and {worst.largest:.1%} at most"
        )
        place = replace(worst.place, key=padding.first)
        is_certain = any(found[one].is_certain for one in attended)
        hint = _hint(evidence, found) if evidence.surroundings.calls == 1 else _hint_for_several(found)
        if not is_certain:
            hint = f"Nothing is wrong if the text itself repeats the token. {hint}"
        yield self.rule.finding(message, place, keys, hint, None if is_certain else "info")


def _hint(evidence: Evidence, found: dict[int, Padding]) -> str:
    index, keys = evidence.index, evidence.inputs.weights_shape[3]
    if any(padding.first == 0 for padding in found.values()):
        return f"Give a mask of shape {(index.total_batch, 1, 1, keys)} that hides the padding."
    if len(index.batch) < index.total_batch:
        return "Give valid lengths, or a mask that hides the padding."
    lengths = [str(found[item].first if item in found else keys) for item in range(len(index.batch))]
    return f"Give the valid lengths: --valid-lens {','.join(lengths)}."


def _hint_for_several(found: dict[int, Padding]) -> str:
    """What helps all calls of a file, whose lengths differ."""
    if any(padding.first == 0 for padding in found.values()):
        return "Give each call a mask that hides the padding."
    return "Give each call its valid lengths, or a mask that hides the padding."


def _seen(evidence: Evidence, item: int, padding: Padding) -> _Seen | None:
    """What the padding of one item of the selection gets, or None where it is hidden or everything else is."""
    rows = _real_rows(evidence, padding)
    if not rows:
        return None
    part = select(evidence.inputs, Selection(batch=(item,)))
    shares: list[Tensor] = []
    rest = torch.zeros(())
    for piece in pieces(part, rows):
        weights = piece.steps.weights[0]  # (heads, r, Sk)
        share = weights[..., padding.first : padding.first + padding.size].sum(dim=-1)
        rest = torch.maximum(rest, (weights.sum(dim=-1) - share).amax().cpu())
        shares.append(share.nan_to_num(0.0).cpu())
    return _measured(evidence, item, shares, rows) if float(rest) > LEAST_WEIGHT else None


def _measured(evidence: Evidence, item: int, shares: list[Tensor], rows: tuple[int, ...]) -> _Seen | None:
    heads = evidence.inputs.weights_shape[1]
    all_heads = _by_head(shares, heads, len(rows))  # (Hq, rows)
    largest = float(all_heads.max())
    if largest < LEAST_WEIGHT:
        return None
    head, row = divmod(int(all_heads.argmax()), len(rows))
    place = place_in_call(evidence.index, None, item, head, rows[row])
    return _Seen(float(all_heads.mean()), largest, place)


def _by_head(shares: list[Tensor], heads: int, rows: int) -> Tensor:
    """Put pieces, which come group of heads by group, their rows in order, side by side: ``(Hq, rows)``."""
    flat, groups, group = [], [], 0
    for share in shares:
        flat.append(share)
        group += share.shape[1]
        if group == rows:
            groups.append(torch.cat(flat, dim=1))
            flat, group = [], 0
    return torch.cat(groups).reshape(heads, rows)


def _real_rows(evidence: Evidence, padding: Padding) -> tuple[int, ...]:
    """Sampled query rows that are no padding: where queries stand beside keys, those outside it."""
    mask, queries = evidence.inputs.rules.mask, evidence.index.total_queries
    places: list[int] = mask.places.tolist()
    end = padding.first + padding.size
    if not (mask.causal or mask.window is not None or queries == mask.num_keys):
        if end < mask.num_keys or padding.is_unwritten or not _go_on(evidence):
            return evidence.sampled_rows
        places = (evidence.index.queries + (mask.num_keys - queries)).tolist()
    return tuple(row for row in evidence.sampled_rows if not padding.first <= places[row] < end)


def _go_on(evidence: Evidence) -> bool:
    """Whether the queries are those of the last keys, as with a cache, though neither order nor window says so.

    One query needs no mask for its order; several do, or they are a decoder's, whose keys are the encoder's.
    """
    queries, keys = evidence.index.total_queries, evidence.inputs.rules.mask.num_keys
    has_order = queries == 1 or any(pattern.has_rows for pattern in evidence.patterns)
    return queries < keys and has_order and not evidence.surroundings.keys_stay
