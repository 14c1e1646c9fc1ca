"""ATTN018: two heads of a layer with the same weights."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from attn_cli.checks.evidence import Evidence
from attn_cli.checks.pieces import Piece, pieces
from attn_cli.checks.spread import UNIFORM
from attn_cli.inspection.findings.rules import Rule, place_in_call
from attn_cli.inspection.types import Finding

SAME = 1e-4  # nats; the nearest heads of twelve real layers are at 0.027, rounding q and k to bfloat16 costs 1e-5
FOCUSED = 0.1  # nats: heads with less entropy, all weight on one key, agree without being copies
WEIGHTS_AT_ONCE = 2**24  # of all batch items: a long context is compared in few rows, each with many keys
FREEDOM = 16  # Σᵢ (nᵢ − 1) over the compared rows


class Duplicates:
    """Compares the weights of every two heads in evenly spaced query rows."""

    rule = Rule(
        code="ATTN018",
        name="duplicate heads",
        severity="info",
        sentence="Two heads give every key the same weight (a Jensen-Shannon divergence below 0.0001 nats).",
        why="One of them chooses nothing of its own. In a trained model that is rare; in a capture it often means that "
        "one head was written twice.",
        example="Query heads repeated as key/value heads are for grouped queries, or a view that repeats a head.",
        source="Lin 1991; Clark et al. 2019, arXiv 1906.04341 (heads compared by this divergence)",
    )

    def find(self, evidence: Evidence) -> tuple[Finding, ...]:
        """One finding with the first pair; heads that attend uniformly, or to one key alone, are not compared."""
        heads = _comparable(evidence)
        rows = _telling_rows(evidence)
        if len(heads) < 2 or not rows:
            return ()
        divergence = _divergence(evidence, heads, rows)
        same = (divergence < SAME).triu(1).nonzero()
        if len(same) == 0:
            return ()
        one, other = (heads[int(head)] for head in same[0])
        apart = float(divergence[tuple(same[0])])
        pairs = "" if len(same) == 1 else f"; so do {len(same) - 1} other pairs"
        rows_said = "every row" if len(rows) == evidence.inputs.q.shape[2] else f"the {len(rows)} rows compared"
        message = (
            f"heads {evidence.index.heads[one]} and {evidence.index.heads[other]} give every key the same weight in "
            f"{rows_said} (Jensen-Shannon divergence {apart:.2g} nats){pairs}"
        )
        hint = "If the heads should differ, see how q and k were split into heads or repeated."
        return (self.rule.finding(message, place_in_call(evidence.index, head=one), len(same), hint),)


def _comparable(evidence: Evidence) -> tuple[int, ...]:
    """Heads that are sound and neither uniform nor focused, in all batch items together."""
    metrics = evidence.inspection.metrics
    entropy = metrics["entropy"].nanmean(dim=0)  # (Hq,)
    spread = evidence.spread
    deviation = spread.final.nanmean(dim=0)
    is_sound = (metrics["nonfinite"] == 0).all(dim=0)
    chosen = is_sound & (entropy > FOCUSED) & (deviation > UNIFORM) & (spread.freedom.sum(dim=0) >= FREEDOM)
    return tuple(int(head) for head in chosen.nonzero())


def _telling_rows(evidence: Evidence) -> tuple[int, ...]:
    """Sampled rows that see two keys or more in some batch item and head: all, or as many as there is room for."""
    seen = evidence.seen_keys.amax(dim=(0, 1))  # (Sq,)
    rows = [row for row in evidence.sampled_rows if int(seen[row]) > 1]
    batch, heads, _, keys = evidence.inputs.weights_shape
    number = min(len(rows), max(1, WEIGHTS_AT_ONCE // (batch * heads * keys)))
    return tuple(rows[int(at)] for at in torch.linspace(len(rows) - 1, 0, number).round()) if rows else ()


def _divergence(evidence: Evidence, heads: tuple[int, ...], rows: tuple[int, ...]) -> Tensor:
    """The mean divergence of every two of these heads over these rows of all batch items, ``(heads, heads)``."""
    total = torch.zeros(len(heads), len(heads), dtype=torch.float64)
    for weights in _of_items(evidence, heads, rows):
        total += _summed(weights)
    return total / (evidence.inputs.q.shape[0] * len(rows))


def _summed(x: Tensor) -> Tensor:
    """The divergence of every two heads, summed over the rows of ``(heads, rows, Sk)``; the upper half counts."""
    total = torch.zeros(len(x), len(x), dtype=torch.float64)
    entropy = torch.special.entr(x).sum(dim=-1)  # (heads, rows)
    for head in range(len(x) - 1):
        middle = torch.special.entr((x[head] + x[head + 1 :]) / 2).sum(dim=-1)  # (heads behind, rows)
        apart = middle - (entropy[head] + entropy[head + 1 :]) / 2
        total[head, head + 1 :] = apart.clamp(min=0).sum(dim=-1, dtype=torch.float64)
    return total


def _of_items(evidence: Evidence, heads: tuple[int, ...], rows: tuple[int, ...]) -> Iterator[Tensor]:
    """The weights of these heads, ``(heads, rows, Sk)``, of one batch item after another."""
    found: dict[int, list[Tensor]] = {}
    every = evidence.inputs.q.shape[1]
    for piece in pieces(evidence.inputs, rows):
        for head, weights in zip(piece.heads, _weights(piece), strict=True):
            found.setdefault(head, []).append(weights.cpu())
            if head == every - 1 and piece.rows[-1] == rows[-1]:
                yield torch.stack([torch.cat(found[head]) for head in heads])
                found = {}


def _weights(piece: Piece) -> Tensor:
    """``(h, r, Sk)``; a sink is one more key."""
    weights, sink = piece.steps.weights[0], piece.steps.sink
    return weights if sink is None else torch.cat([weights, sink[0, ..., None]], dim=-1)
