"""The device to run on."""

from __future__ import annotations

import os

import torch

from attn_cli.attention import torch_compat
from attn_cli.errors import ResourceError, UsageError


def resolve_device(name: str) -> torch.device:
    """The device called ``name``: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.

    ``auto`` is the first CUDA device, else Apple's GPU, else the CPU.

    Raises:
        UsageError: where there is no such kind of device.
        ResourceError: where this machine has no such device.
    """
    torch_compat.settle_math_functions()
    if name == "auto":
        return torch.device(_best_kind())
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda", "mps") or (device.type != "cuda" and device.index):
        raise UsageError(f"--device {name}: no such device; expected auto, cpu, cuda, cuda:N or mps")
    reason = unusable(device)
    if reason:
        raise ResourceError(f"--device {name}: {reason}; expected one that is", "--device auto is the best there is")
    return device


def unusable(device: torch.device) -> str | None:
    """Why ``device`` cannot be used on this machine, or None."""
    if device.type == "cuda":
        if not torch.cuda.is_available():
            built = torch.backends.cuda.is_built()
            return "PyTorch finds no CUDA device here" if built else "this build of PyTorch has no CUDA"
        count = torch.cuda.device_count()
        if device.index is not None and device.index >= count:
            return f"this machine has {count} CUDA device{'s' if count > 1 else ''}, counted from 0"
    if device.type == "mps" and not torch.backends.mps.is_available():
        return "PyTorch finds no Apple GPU here"
    return None


def _best_kind() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def memory_bytes() -> int | None:
    """Bytes of memory that this machine has in all, or None where it does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def synchronize(device: torch.device) -> None:
    """Wait until all work given to ``device`` is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
