"""Tokens of query rows, for the sums over the keys that repeat them."""

from __future__ import annotations

import torch
from torch import Tensor

from attn_cli.inspection.areas import Area
from attn_cli.inspection.call import Call
from attn_cli.inspection.stream.tiles import stacked


def tokens_of_rows(call: Call, area: Area) -> tuple[Tensor, Tensor]:
    """The token of each row ``(b, 1, r, 1)`` and the place before which keys count ``(1, 1, r, 1)``.

    A query outside the keys has no token: no key counts.
    """
    assert call.tokens is not None  # asked for only where the tokens are known
    num_keys, places = call.seen.mask.num_keys, call.seen.mask.places[area.rows]
    own = call.tokens[area.batch][:, places.clamp(0, num_keys - 1)]  # (b, r)
    before = torch.where(places < num_keys, places, 0)
    return own[:, None, :, None], before[None, None, :, None]


def stacked_tokens(call: Call, block: Area) -> list[Tensor]:
    """What :attr:`attn_cli.inspection.stream.loop.Settings.tokens` holds."""
    if call.tokens is None:
        return []
    of_rows = (stacked(x, call, block) for x in tokens_of_rows(call, block))  # (g or 1, 1, n) each
    return [*of_rows, call.tokens[block.batch]]
