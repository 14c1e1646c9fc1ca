"""Token ids of a call's keys, from the ``input_ids`` that the program gave its model.

With a KV cache a model is given only the newest tokens, while its keys go on from those of earlier steps. Which tokens
these were is known where the keys themselves tell that the cache holds what an earlier step left in it: then the ids of
that step come before the new ones, row by row, also where beam search has reordered or speculation has cut the cache.
"""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from attn_cli.recording.masks.cells import bits

NAME = "input_ids"
WHOLE = (torch.int64, torch.int32, torch.int16, torch.uint8, torch.int8)
WRAPPED = ("_orig_mod", "module")  # where torch.compile and DataParallel keep the module
FEATURES = 2  # of one head's keys; they tell a cache by


def given_ids(module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor | None:
    """The ``input_ids`` among what a module was called with: by name, by place, or in a mapping (a tokenizer's batch).

    Returns:
        ``(B, S)`` whole numbers, or None. The tensor is the program's own.
    """
    mappings = [one for one in (*args, *kwargs.values()) if isinstance(one, Mapping)]
    for given in (kwargs, *mappings, _by_place(module, args)):
        ids = given.get(NAME)
        if isinstance(ids, Tensor) and ids.dtype in WHOLE and ids.dim() in (1, 2) and ids.numel() > 0:
            return ids.detach() if ids.dim() == 2 else ids.detach()[None]  # (B, S)
    return None


def _by_place(module: nn.Module, args: tuple[Any, ...]) -> dict[str, Any]:
    """Positional arguments under the names that the module has for them, or that the one in it has."""
    wrapped = (getattr(module, name, None) for name in WRAPPED)
    for one in (module, *(inner for inner in wrapped if isinstance(inner, nn.Module))) if args else ():
        try:
            named = inspect.signature(one.forward).bind_partial(*args).arguments
        except (TypeError, ValueError):
            continue
        if NAME in named:
            return dict(named)
    return {}


def _are_of_input(module: nn.Module, kwargs: Mapping[str, Any], path: str) -> bool:
    """False where a model has other ids for its decoder, and the keys may be of these."""
    says = getattr(getattr(module, "config", None), "is_encoder_decoder", False) is True
    has_decoder = says or any(kwargs.get(name) is not None for name in ("decoder_input_ids", "decoder_inputs_embeds"))
    names = (type(module).__name__.lower()[-len("encoder") :], *path.split("."))  # BartEncoder may be run by itself
    return not has_decoder or ("encoder" in names and "decoder" not in names)


@dataclass(frozen=True)
class _Known:
    """The keys of one attention module at its last call.

    Attributes:
        ids: ``(B, S)`` int64, of all keys.
        marks: ``(B, S, FEATURES)``, some numbers of each key.
    """

    ids: Tensor
    marks: Tensor


class TokenIds:
    """Follows the token ids of the models that a program runs, as long as these models live."""

    def __init__(self) -> None:
        self._known: weakref.WeakKeyDictionary[nn.Module, dict[str, _Known]] = weakref.WeakKeyDictionary()
        self._latest: weakref.ref[Tensor] | None = None

    def of_keys(
        self,
        module: nn.Module,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        path: str,
        k: Tensor,
        num_queries: int,
    ) -> Tensor | None:
        """The token id of each key of a call, or None where that is not certain.

        Ask for every call, also those that are not to be kept: a step can only be told from the one before.

        Args:
            module: the one around the call that was given token ids, the innermost where there are several.
            args: what it was called with by place.
            kwargs: and by name.
            path: of the module inside it that computes attention.
            k: ``(B, Hkv, Sk, D)``.
            num_queries: Sq.

        Returns:
            ``(B, Sk)`` int64, not to be written to.
        """
        ids = given_ids(module, args, kwargs)
        if ids is None or k.dim() != 4 or k.numel() == 0 or not _are_of_input(module, kwargs, path):
            return None
        earlier = k.shape[2] - ids.shape[1]
        if ids.shape[0] != k.shape[0] or earlier < 0 or (earlier and num_queries != ids.shape[1]):
            return None
        of_module = self._known.setdefault(module, {})
        marks = k.detach()[:, 0, :, :: max(1, k.shape[3] // FEATURES)][..., :FEATURES].clone()  # (B, Sk, F)
        before = of_module.pop(path, None)
        history = _history(before, marks[:, :earlier]) if earlier else ids.new_empty(len(ids), 0)
        if history is None:
            return None
        whole = self._joined(history, ids)
        of_module[path] = _Known(whole, marks)
        return whole

    def _joined(self, history: Tensor, ids: Tensor) -> Tensor:
        """Both, ``(B, Sk)``; the layers of a model come to the same and share one tensor."""
        whole = torch.cat([history.to(ids.device, torch.int64), ids.to(torch.int64)], dim=1)
        latest = None if self._latest is None else self._latest()
        if latest is not None and latest.device == whole.device and torch.equal(latest, whole):
            return latest
        self._latest = weakref.ref(whole)
        return whole


def _history(before: _Known | None, marks: Tensor) -> Tensor | None:
    """The ids of the keys that a cache held, ``(B, earlier)``, or None where it does not go on from ``before``."""
    earlier = marks.shape[1]
    if before is None or before.marks.shape[1] < earlier or before.marks.shape[2:] != marks.shape[2:]:
        return None
    if before.marks.dtype != marks.dtype or before.marks.device != marks.device:
        return None
    now, then = bits(marks), bits(before.marks[:, :earlier])
    if torch.equal(now, then):
        return before.ids[:, :earlier]
    rows = [_row_of(row, then) for row in now]
    return None if None in rows else before.ids[torch.tensor(rows), :earlier]


def _row_of(row: Tensor, rows: Tensor) -> int | None:
    """The first of ``(B, S, F)`` that is the same as ``row``."""
    return next((number for number, other in enumerate(rows) if torch.equal(row, other)), None)
