"""Refusing what cannot fit into memory, with the number, before any memory is asked for."""

from __future__ import annotations

import torch

from attn_cli.benchmark.memory import available_bytes
from attn_cli.errors import ResourceError
from attn_cli.inputs.text import bytes_text

CPU = torch.device("cpu")


def check_room(option: str, what: str, needed: int, hint: str | None = None, device: torch.device = CPU) -> None:
    """Refuse what takes more memory than is free.

    Args:
        option: that asks for it; it begins the message.
        what: takes the memory, such as ``all weights (1, 8, 9, 9)``.
        needed: bytes that it takes at the least.
        hint: how to ask for less.
        device: whose memory.

    Raises:
        ResourceError: where less is free.
    """
    there = available_bytes(device)
    if there is not None and needed > there:
        found = f"at least {bytes_text(needed)} of memory for {what}"
        raise ResourceError(f"{option}: {found}; expected at most {bytes_text(there)}, what is free on {device}", hint)
