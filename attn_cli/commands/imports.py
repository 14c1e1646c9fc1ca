"""How the commands import torch."""

from __future__ import annotations

import gc
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def for_good() -> Iterator[None]:
    """Import torch, whose many objects stay as long as the process, so that no garbage collection ever walks them.

    Where it was imported before, as in a program that calls attn, nothing is changed. A Ctrl-C in between is obeyed
    behind the import: half a torch would fail with an error of its own, or lose the interrupt.
    """
    if "torch" in sys.modules:
        yield
        return
    was_collecting = gc.isenabled()
    gc.disable()
    try:
        with _interrupted_afterwards():
            yield
    finally:
        gc.freeze()
        if was_collecting:
            gc.enable()


@contextmanager
def _interrupted_afterwards() -> Iterator[None]:
    """Hold back the KeyboardInterrupt of a Ctrl-C to the end of the block."""
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    pressed: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _: pressed.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if pressed:
        raise KeyboardInterrupt
