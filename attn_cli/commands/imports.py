"""How the commands import torch."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def for_good() -> Iterator[None]:
    """Import torch, whose many objects stay as long as the process, so that no garbage collection ever walks them.

    Where it was imported before, as in a program that calls attn, nothing is changed.
    """
    if "torch" in sys.modules:
        yield
        return
    was_collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_collecting:
            gc.enable()
