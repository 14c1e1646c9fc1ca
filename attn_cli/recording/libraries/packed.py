"""Sequences of several lengths behind one another, or in pages of a cache, as a padded batch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from attn_cli.recording.libraries.small_axes import refuse_bytes
from attn_cli.recording.types import Align, RawCall


@dataclass(frozen=True)
class Sequences:
    """Where the sequences of a batch lie among rows ``(total, …)``.

    Attributes:
        rows: ``(B, S)`` int64, the row of each place; any valid row where a sequence has none.
        lens: ``(B,)`` int64, places that a sequence has, at most S.
    """

    rows: Tensor
    lens: Tensor

    @classmethod
    def starting_at(cls, starts: Tensor, lens: Tensor) -> Sequences:
        """Sequences of consecutive rows, ``starts`` and ``lens`` each ``(B,)``."""
        lens = lens.long().clamp(min=0)
        places = torch.arange(_longest(lens), device=lens.device)
        rows = starts.long()[:, None] + torch.where(places < lens[:, None], places, 0)
        return cls(rows, lens)

    @classmethod
    def between(cls, bounds: Tensor, used: Tensor | None = None) -> Sequences:
        """Sequences from cumulative lengths ``(B + 1,)``, of which only the first ``used`` ``(B,)`` rows count."""
        return cls.starting_at(bounds[:-1], bounds.diff() if used is None else used)

    def in_pages(self, table: Tensor, page_size: int) -> Sequences:
        """The rows that these, counted within each sequence, have in pages of ``page_size`` rows.

        Args:
            table: ``(B, pages of a sequence)``, which page holds each.
            page_size: rows of a page.
        """
        rows = self.rows.clamp(max=table.shape[1] * page_size - 1)
        pages = table.long().gather(1, rows // page_size)  # (B, S)
        return replace(self, rows=pages * page_size + rows % page_size)

    def padded(self, x: Tensor) -> Tensor:
        """``(total, H, D)`` as ``(B, H, S, D)``, with zeros behind a sequence's end."""
        if not self.rows.numel() or not len(x):
            return x.new_zeros(self.rows.shape[0], x.shape[1], self.rows.shape[1], x.shape[2])
        laid = x[self.rows.clamp(max=len(x) - 1)]  # (B, S, H, D)
        return laid.masked_fill(~self.is_there[..., None, None], 0).transpose(1, 2)

    @property
    def is_there(self) -> Tensor:
        """bool ``(B, S)``, False behind a sequence's end."""
        return torch.arange(self.rows.shape[1], device=self.lens.device) < self.lens[:, None]

    @property
    def is_full(self) -> bool:
        """True where every sequence is as long as the longest."""
        return bool((self.lens == self.rows.shape[1]).all())


def lens_tensor(lens: Any, batch: int, device: torch.device) -> Tensor:
    """Lengths given as one number or as ``(B,)``: ``(B,)`` int64."""
    return torch.as_tensor(lens, device=device).long().expand(batch)


def places_of(queries: Sequences, keys: Sequences, align: Align) -> Tensor:
    """The aligned place of each sequence's queries among its own keys: ``(B, Sq)`` int64."""
    rows = torch.arange(queries.rows.shape[1], device=queries.lens.device)
    offset = keys.lens - queries.lens if align == "bottom-right" else torch.zeros_like(keys.lens)
    return rows + offset[:, None]


def with_lengths(call: RawCall, queries: Sequences, keys: Sequences, align: Align) -> RawCall:
    """``call`` on a padded batch with its causal order and window aligned within each sequence.

    A query row behind its sequence's end sees no key: its valid length is 0. Where the alignment is the same for all
    sequences it stays a rule; else causal order becomes a valid length for each query, and what a window hides on the
    left a keep mask.

    Args:
        call: on padded tensors, without valid lengths or mask.
        queries: the sequences of its queries.
        keys: the sequences of its keys.
        align: how the window is aligned, and causal order where there is any.
    """
    places = places_of(queries, keys, align)  # (B, Sq)
    offset = call.k.shape[2] - call.q.shape[2] if align == "bottom-right" else 0
    is_uniform = bool(((places[:, :1] == offset) | (queries.lens == 0)[:, None]).all())
    if is_uniform or (call.causal is None and call.window is None):
        return replace(call, valid_lens=_lens(queries, keys))
    left, right = call.window or (-1, -1)
    reach = 0 if call.causal is not None else right
    lens = keys.lens[:, None].expand_as(places)
    if reach >= 0:
        lens = torch.minimum(lens, places + reach + 1).clamp(min=0)
    lens = lens.masked_fill(~queries.is_there, 0)
    return replace(call, causal=None, window=None, valid_lens=lens, mask=_not_left_of(places - left, call, left))


def _lens(queries: Sequences, keys: Sequences) -> Tensor | None:
    if not queries.is_full:
        return keys.lens[:, None] * queries.is_there  # (B, Sq)
    return None if keys.is_full else keys.lens


def _not_left_of(first: Tensor, call: RawCall, left: int) -> Tensor | None:
    """Keep mask ``(B, 1, Sq, Sk)`` of the keys from ``first`` ``(B, Sq)`` on; None where the window has no left end."""
    if left < 0:
        return None
    num_keys = call.k.shape[2]
    refuse_bytes(first.numel() * num_keys, torch.bool, "a window's mask")
    keys = torch.arange(num_keys, device=first.device)
    return (keys >= first[..., None])[:, None]  # (B, 1, Sq, Sk)


def _longest(lens: Tensor) -> int:
    return int(lens.max()) if len(lens) else 0
