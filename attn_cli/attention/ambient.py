"""What a program has set for PyTorch, put aside while attn computes inside it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

import torch


@contextmanager
def plainly(devices: Iterable[str]) -> Iterator[None]:
    """Compute without gradients and autocast, in this thread alone.

    Outside inference mode, whose tensors other threads could not change and that could not be used later like any
    tensor. Everything is as it was when the block ends.

    Args:
        devices: types of the devices where the tensors are, besides the CPU.
    """
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.no_grad())
        for kind in {"cpu", *devices}:
            if _has_autocast(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        yield


@contextmanager
def as_in_a_new_process(device: torch.device) -> Iterator[None]:
    """Compute :func:`plainly`, tensors made as float32 on the CPU where nothing else is said.

    The default dtype is the whole process's: other threads see it too until the block ends.

    Args:
        device: where the tensors are.
    """
    with ExitStack() as stack:
        stack.enter_context(plainly([device.type]))
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        if torch.get_default_dtype() != torch.float32:
            stack.callback(torch.set_default_dtype, torch.get_default_dtype())
            torch.set_default_dtype(torch.float32)
        yield


def _has_autocast(device: str) -> bool:
    try:
        return torch.is_autocast_enabled(device)
    except RuntimeError:  # a device that knows no autocast
        return False
