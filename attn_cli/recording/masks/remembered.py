"""What was found out about a tensor, for as long as equal ones keep coming."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor

from attn_cli.recording.masks.cells import bits

MOST = 2  # tensors at once: the layers of a model share one mask, or two where some of them have a window
MOST_BYTES = 2**28  # of their copies together

Found = TypeVar("Found")


@dataclass(frozen=True)
class _Known(Generic[Found]):
    """A copy of a tensor, and what was found out about it in calls of ``sizes``."""

    copy: Tensor
    sizes: tuple[int, int]
    found: Found

    def is_of(self, x: Tensor, sizes: tuple[int, int]) -> bool:
        same_kind = (self.sizes, self.copy.shape, self.copy.dtype) == (sizes, x.shape, x.dtype)
        return same_kind and self.copy.device == x.device and torch.equal(bits(self.copy), bits(x))


class Remembered(Generic[Found]):
    """Asks once for tensors that are bit by bit the same and follow each other closely.

    They are compared, for nothing else tells: NumPy, ``.data`` and a program's own kernels write to a tensor without
    PyTorch's knowledge, and under ``torch.inference_mode`` nobody counts. Comparing is one walk over the memory.

    Args:
        ask: finds out, from the tensor's numbers alone; must not hold on to it.
    """

    def __init__(self, ask: Callable[[Tensor, tuple[int, int]], Found]) -> None:
        self._ask = ask
        self._known: tuple[_Known[Found], ...] = ()  # the latest first
        self._lock = threading.Lock()

    def of(self, x: Tensor, sizes: tuple[int, int]) -> Found:
        """What there is to know about ``x`` in a call of ``sizes`` (Sq, Sk)."""
        known = next((one for one in self._known if one.is_of(x, sizes)), None)
        if known is None:
            found = self._ask(x, sizes)
            if x.numel() * x.element_size() > MOST_BYTES:
                return found
            known = _Known(x.clone(memory_format=torch.contiguous_format), sizes, found)
        with self._lock:
            self._known = _with_room((known, *(one for one in self._known if one is not known)))
        return known.found

    def forget(self) -> None:
        """Let all copies go."""
        with self._lock:
            self._known = ()


def _with_room(known: tuple[_Known[Found], ...]) -> tuple[_Known[Found], ...]:
    """The first of them, as many as there is room for."""
    kept, size = [], 0
    for one in known[:MOST]:
        size += one.copy.numel() * one.copy.element_size()
        if size > MOST_BYTES:
            break
        kept.append(one)
    return tuple(kept)
