"""What was found out about a tensor, as long as its memory lives and nobody has written to it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar, cast

from torch import Tensor

MOST = 8  # tensors at once: the layers of a model share one mask, or two where some of them have a window

Found = TypeVar("Found")


class Remembered(Generic[Found]):
    """Asks once for each tensor, also where it comes again as another view of the same memory.

    Args:
        ask: finds out; must not hold on to the tensor.
    """

    def __init__(self, ask: Callable[[Tensor, tuple[int, int]], Found]) -> None:
        self._ask = ask
        self._known: dict[Any, Found] = {}
        self._lock = threading.Lock()

    def of(self, x: Tensor, sizes: tuple[int, int]) -> Found:
        """What there is to know about ``x`` in a call of ``sizes`` (Sq, Sk)."""
        memory = _memory(x)
        if memory is None:
            return self._ask(x, sizes)
        key = (*memory, x.storage_offset(), x.shape, x.stride(), x.dtype, sizes)
        with self._lock:
            found = self._known.pop(key, None)
        if found is None:
            found = self._ask(x, sizes)
        with self._lock:
            self._known[key] = found
            for old in [one for one in self._known if one[0].expired()] + list(self._known)[:-MOST]:
                self._known.pop(old, None)
        return found


def _memory(x: Tensor) -> tuple[Any, int] | None:
    """The memory of a tensor, held weakly, and how often it was written to.

    None where PyTorch does not tell: under ``torch.inference_mode`` nobody counts, and other releases may lack it.
    """
    try:
        from torch.multiprocessing import reductions

        return cast(Any, reductions).StorageWeakRef(x.untyped_storage()), x._version
    except (ImportError, AttributeError, NotImplementedError, RuntimeError):
        return None
