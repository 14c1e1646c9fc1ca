"""What the axes of a named tensor are, and what their numbers are called in the whole call."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from attn_cli.inputs.kept_heads import HEADS, kept_numbers
from attn_cli.inputs.names import (
    ADDITIVE,
    BIAS,
    HIDDEN,
    KEY_MASK,
    KEY_PADDING,
    MASK,
    OUTPUT,
    SINKS,
    TOKEN_IDS,
    VALID_LENS,
    WEIGHTS,
    role_of,
    split_name,
)
from attn_cli.inputs.settings import METADATA, Settings

Axes = tuple[str | None, ...]
SAVED = "attn.saved/"
LSE, SINK_WEIGHTS, PROJECTED = "lse", "sink_weights", "projected"
HEADS_OF = {"q", "k", "v", OUTPUT}
MASKS = {MASK, KEY_MASK, KEY_PADDING, ADDITIVE, BIAS}
FULL: dict[str, Axes] = {
    "q": ("batch", "head", "query", "feature"),
    "k": ("batch", "head", "key", "feature"),
    "v": ("batch", "head", "key", "feature"),
    OUTPUT: ("batch", "head", "query", "feature"),
    WEIGHTS: ("batch", "head", "query", "key"),
    LSE: ("batch", "head", "query"),
    SINK_WEIGHTS: ("batch", "head", "query"),
    PROJECTED: ("batch", "query", "feature"),
    "queries": ("batch", "query", "feature"),
    "keys": ("batch", "key", "feature"),
    "values": ("batch", "key", "feature"),
    HIDDEN: ("batch", "query", "feature"),
    VALID_LENS: ("batch", "query"),
    TOKEN_IDS: ("batch", "key"),
    SINKS: ("head",),
}


def known_role(name: str) -> str | None:
    """What a tensor's name says it is, of a call or of what ``attn run --save`` wrote."""
    leaf = split_name(name)[1].lower()
    return leaf if leaf in (LSE, SINK_WEIGHTS, PROJECTED) else role_of(leaf)


def axes_of(role: str | None, shape: tuple[int, ...], settings: Settings) -> Axes:
    """The name of each axis; None where it is not known."""
    rank = len(shape)
    unknown: Axes = (None,) * rank
    if role in MASKS:
        return _axes_of_mask(role, shape)
    full = FULL.get(role or "")
    if full is None:
        return unknown
    if role == VALID_LENS:
        return full[:rank] if rank <= 2 else unknown
    if role in HEADS_OF and rank == 3 and _is_cut(shape, settings):
        return full[0], full[2], None
    if rank == 4 and role in HEADS_OF and settings.layout.value == "bshd":
        return full[0], full[2], full[1], full[3]
    if rank == 3 and role in HEADS_OF and settings.layout.value == "bshd":
        return full[2], full[1], full[3]
    if rank == 2 and role in HEADS_OF:
        return full[2:]
    return full[len(full) - rank :] if len(full) - 1 <= rank <= len(full) else unknown


def _axes_of_mask(role: str | None, shape: tuple[int, ...]) -> Axes:
    """Masks broadcast from the right; an axis of size 1 is none of its own. One axis is a linear layer's bias."""
    if len(shape) not in (2, 3, 4):
        return (None,) * len(shape)
    if role in (KEY_MASK, KEY_PADDING) and len(shape) == 2:
        return "batch", "key"
    names = ("batch", None if len(shape) == 3 else "head", "query", "key")[-len(shape) :]
    return tuple(None if size == 1 else name for name, size in zip(names, shape, strict=True))


def _is_cut(shape: tuple[int, ...], settings: Settings) -> bool:
    """Whether three axes are (B, S, H·D), as the reader of calls decides it."""
    heads = settings.num_heads.value
    if heads is None or shape[-1] % heads:
        return False
    return settings.num_heads.origin != METADATA or shape[0] != heads


@dataclass(frozen=True)
class Part:
    """Which part of a whole call some tensors are; None is all of an axis."""

    batch: tuple[int, ...] | None = None
    head: tuple[int, ...] | None = None
    query: tuple[int, ...] | None = None

    def numbers(self, axis: str | None, size: int) -> Sequence[int]:
        """What the entries of an axis are called in the whole call."""
        known = {"batch": self.batch, "head": self.head, "query": self.query}.get(axis or "")
        return range(size) if known is None or len(known) != size else known


WHOLE = Part()


def known_parts(metadata: Mapping[str, str]) -> dict[str, Part]:
    """By prefix, which part of its call the tensors are: of what ``attn run --save`` wrote or a recording kept."""
    kept = {split_name(name)[0]: kept_numbers(text) for name, text in metadata.items() if split_name(name)[1] == HEADS}
    return {prefix: Part(head=numbers) for prefix, numbers in kept.items() if numbers} | saved_parts(metadata)


def saved_parts(metadata: Mapping[str, str]) -> dict[str, Part]:
    """By prefix, which part of its call ``attn run --save`` wrote; empty for other files and for broken metadata."""
    if not metadata.get("schema", "").startswith(SAVED):
        return {}
    try:
        calls = json.loads(metadata.get("calls", ""))
    except (ValueError, RecursionError):
        return {}
    if not isinstance(calls, dict):
        return {}
    return {prefix: _part(said) for prefix, said in calls.items() if isinstance(said, dict)}


def _part(said: Mapping[str, object]) -> Part:
    return Part(*(_numbers(said.get(key)) for key in ("batch", "heads", "queries")))


def _numbers(value: object) -> tuple[int, ...] | None:
    """A list of whole numbers from 0, or None."""
    is_list = isinstance(value, list) and all(type(one) is int and 0 <= one < 2**40 for one in value)
    return tuple(value) if is_list and isinstance(value, list) else None
