"""Whether a head follows repeated tokens. Only where the token ids are known."""

from __future__ import annotations

import torch
from torch import Tensor

from attn_cli.inspection.call import Call
from attn_cli.inspection.metrics.base import Metric
from attn_cli.inspection.rows import Rows

OLSSON = "Olsson et al. 2022, arXiv 2209.11895; the key patterns are those of TransformerLens's head detector"


def repeated_before(tokens: Tensor, places: Tensor) -> Tensor:
    """True where a key before pᵢ holds the token of query i, ``(B, Sq)``; False for a query outside the keys.

    Args:
        tokens: ``(B, Sk)``, numbered from 0.
        places: ``(Sq,)`` int64.
    """
    num_keys = tokens.shape[1]
    keys = torch.arange(num_keys, device=tokens.device).expand_as(tokens)
    first = torch.full((len(tokens), int(tokens.max()) + 1), num_keys, device=tokens.device)
    first.scatter_reduce_(1, tokens.long(), keys, "amin")
    own = tokens[:, places.clamp(0, num_keys - 1)].long()  # (B, Sq)
    return (first.gather(1, own) < places) & (places < num_keys)


def _repeating(rows: Rows) -> Tensor:
    """True where a row with a visible key has an earlier key with its token, ``(b, h or 1, r)``."""
    assert rows.call.tokens is not None  # the metrics apply only where the token ids are known
    repeated = repeated_before(rows.call.tokens[rows.part.batch], rows.places)  # (b, r)
    return repeated[:, None] & rows.has_visible


def _duplicate(rows: Rows) -> tuple[Tensor, Tensor]:
    assert rows.values.duplicate is not None
    return rows.values.duplicate, _repeating(rows)


def _induction(rows: Rows) -> tuple[Tensor, Tensor]:
    assert rows.values.induction is not None
    return rows.values.induction, _repeating(rows)


def _has_tokens(call: Call) -> bool:
    return call.inputs.token_ids is not None


TOKENS = (
    Metric(
        name="induction_score",
        unit="share",
        definition=(
            "Mean over the query rows i of the summed weight on the keys j ≤ pᵢ whose predecessor j − 1 < pᵢ holds the "
            "token at pᵢ; rows without such a key, or without a visible key, are left out."
        ),
        source=OLSSON,
        rows=_induction,
        applies=_has_tokens,
    ),
    Metric(
        name="duplicate_score",
        unit="share",
        definition=(
            "Mean over the query rows i of the summed weight on the keys j < pᵢ that hold the token at pᵢ; rows "
            "without such a key, or without a visible key, are left out."
        ),
        source=OLSSON,
        rows=_duplicate,
        applies=_has_tokens,
    ),
)
