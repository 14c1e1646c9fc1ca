"""What is to be recorded. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RecordOptions:
    """Which calls of a program to keep, and what of them.

    Attributes:
        layers: shell patterns (``encoder.layer.[0-3].*``), one of which a module's path has to match; empty means all.
        first_call, call_stop: calls first_call ≤ n < call_stop of all that the program makes; a stop of None is the
            end.
        heads: query heads to keep, in ascending order; None means all.
        max_bytes: how large the tensors that are kept may become together; None means without limit.
        dtype: the floating dtype to store Q, K, V and the output in, e.g. ``"float16"``; None keeps the program's.
        tokenizer: a ``tokenizer.json`` that turns token ids into texts, or None.
    """

    layers: tuple[str, ...] = ()
    first_call: int = 0
    call_stop: int | None = None
    heads: tuple[int, ...] | None = None
    max_bytes: int | None = None
    dtype: str | None = None
    tokenizer: str | None = None
