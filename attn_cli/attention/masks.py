"""Who may attend to whom: causal order, window, valid lengths and a keep mask, asked for block by block."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

UNLIMITED = -1
HIDING = -1e3  # a bias from here down is there to hide a key: position biases of real models are far smaller
MOST_CONSTANTS = 4  # more different numbers that far down are distances (ALiBi on a long context), no mask


@dataclass(frozen=True)
class MaskRule:
    """The keys that every query row may attend to.

    Causal order, the window and valid lengths each leave one interval of keys to a query, so they are kept
    as rules and turned into cells only for the block that is asked for; ``keep`` holds what no interval can say.

    Attributes:
        num_keys: Sk.
        places: ``(Sq,)`` int64, the aligned place pᵢ of each query on the axis of the keys.
        valid_lens: ``(B,)`` or ``(B, Sq)`` int64, keys counted from the first; None means all.
        keep: bool, True = may attend, four axes that broadcast to ``(B, Hq, Sq, Sk)``; None means all.
        causal: query i sees the keys j ≤ pᵢ.
        window: keys kept ``(left, right)`` of pᵢ, itself not counted; −1 is unlimited.
        value: what a hidden logit becomes; None is −∞. A finite constant gives a row without any visible key
            uniform weights, as d2l's ``masked_softmax`` does with −1e6.
    """

    num_keys: int
    places: Tensor
    valid_lens: Tensor | None = None
    keep: Tensor | None = None
    causal: bool = False
    window: tuple[int, int] | None = None
    value: float | None = None

    def interval(self, rows: slice = slice(None)) -> tuple[Tensor, Tensor]:
        """First visible key and the one behind the last, before ``keep``, each ``(B or 1, 1, rows)`` int64."""
        places = self.places[rows]  # (r,)
        first = torch.zeros_like(places)
        behind = torch.full_like(places, self.num_keys)
        if self.causal:
            behind = torch.minimum(behind, places + 1)
        if self.window is not None:
            left, right = self.window
            if left != UNLIMITED:
                first = torch.maximum(first, places - left)
            if right != UNLIMITED:
                behind = torch.minimum(behind, places + right + 1)
        first, behind = first[None, None], behind[None, None]  # (1, 1, r)
        if self.valid_lens is not None:
            lens = self.valid_lens[:, rows] if self.valid_lens.dim() == 2 else self.valid_lens[:, None]
            behind = torch.minimum(behind, lens[:, None])  # (B, 1, r)
        first = first.clamp(max=self.num_keys)
        return first.expand_as(behind), torch.maximum(behind, first)

    @property
    def is_same_for_every_query(self) -> bool:
        """True where the intervals do not depend on the query, as with valid lengths ``(B,)`` alone."""
        return not self.causal and self.window is None and (self.valid_lens is None or self.valid_lens.dim() == 1)

    def tile(self, rows: slice = slice(None)) -> Tensor | None:
        """The keep mask of these query rows over all keys: bool, broadcasts to ``(B, Hq, rows, Sk)``.

        None where nothing is hidden from these rows. An axis on which nothing depends has size 1.
        """
        first, behind = self.interval(rows)
        if self.is_same_for_every_query:
            first, behind = first[..., :1], behind[..., :1]  # (B or 1, 1, 1)
        tile = None
        if bool((first > 0).any()) or bool((behind < self.num_keys).any()):
            keys = torch.arange(self.num_keys, device=self.places.device)
            tile = (keys >= first[..., None]) & (keys < behind[..., None])  # (B or 1, 1, r, Sk)
        if self.keep is not None:
            kept = self.keep if self.keep.shape[2] == 1 else self.keep[:, :, rows]
            tile = kept if tile is None else tile & kept
        return tile

    def visible_keys(self, rows: slice = slice(None)) -> Tensor:
        """How many keys each query row may attend to: ``(B or 1, Hq or 1, rows)`` int64."""
        if self.keep is None:
            first, behind = self.interval(rows)
            return behind - first
        tile = self.tile(rows)
        assert tile is not None  # there is a keep mask, so there is a tile
        return tile.expand(*tile.shape[:2], len(self.places[rows]), self.num_keys).sum(dim=-1)

    @property
    def hides_anything(self) -> bool:
        """True where at least one query may not attend to every key."""
        first, behind = self.interval()
        if bool((first > 0).any()) or bool((behind < self.num_keys).any()):
            return True
        return self.keep is not None and not bool(self.keep.all())

    @property
    def is_causal_from_first(self) -> bool:
        """True where the rule is exactly PyTorch's ``is_causal``: query i sees keys j ≤ i and nothing else counts."""
        only_causal = self.causal and self.window is None and self.valid_lens is None and self.keep is None
        return only_causal and torch.equal(self.places, torch.arange(len(self.places), device=self.places.device))

    def to(self, device: torch.device) -> MaskRule:
        """The same rule with its tensors on ``device``."""
        return replace(
            self,
            places=self.places.to(device),
            valid_lens=None if self.valid_lens is None else self.valid_lens.to(device),
            keep=None if self.keep is None else self.keep.to(device),
        )


def aligned_places(num_queries: int, num_keys: int, align: str | int = "bottom-right") -> Tensor:
    """The aligned place pᵢ of every query: ``(Sq,)`` int64.

    Args:
        num_queries: Sq.
        num_keys: Sk.
        align: ``"bottom-right"`` puts the last query on the last key (KV cache, FlashAttention ≥ 2.1);
            ``"top-left"`` puts the first query on the first key (PyTorch's ``is_causal``); a whole number N puts
            query i on key i + N.
    """
    if align == "bottom-right":
        offset = num_keys - num_queries
    elif align == "top-left":
        offset = 0
    else:
        offset = int(align)
    return torch.arange(num_queries) + offset
