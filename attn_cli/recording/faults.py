"""What went wrong beside a program, in a line; without the frames, which hold the program's tensors."""

from __future__ import annotations

import traceback

from attn_cli.errors import AttnError
from attn_cli.recording.libraries.base import PassedOver


def told(fault: Exception) -> str:
    """The fault with its text and the place where it arose."""
    return f"{type(fault).__name__}: {_on_one_line(fault)} ({_place(fault)})"


def reason(fault: Exception, done: str = "read") -> str:
    """Why a call is passed over; no texts that tell of sizes, so that many calls have few reasons.

    Args:
        fault: what arose.
        done: what was to be done with the call.
    """
    if isinstance(fault, (PassedOver, AttnError)):
        return _on_one_line(fault)
    return f"could not be {done}: {type(fault).__name__} {_place(fault)}"


def _on_one_line(fault: Exception) -> str:
    return " ".join(str(fault).split())


def _place(fault: Exception) -> str:
    frames = [frame for frame, _ in traceback.walk_tb(fault.__traceback__)]
    code = frames[-1].f_code if frames else None
    return f"in {code.co_name} of {code.co_filename.rpartition('/')[2]}" if code else "somewhere"
