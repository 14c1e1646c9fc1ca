"""What every function that is caught offers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from attn_cli.recording.types import RawCall

Args = tuple[Any, ...]
Kwargs = Mapping[str, Any]


class PassedOver(Exception):  # noqa: N818 (no error: the program goes on)
    """A call that cannot be recorded; the text says why, in a few words: ``"jagged nested tensors"``."""


def _always(_args: Args, _kwargs: Kwargs) -> bool:
    return True


def _never(_tensor: Tensor) -> bool:
    return False


@dataclass(frozen=True)
class Point:
    """One function of a library that computes attention.

    Attributes:
        module: the module that holds it, by name; it is looked at once the program has imported it.
        name: its name there.
        function: how captures call it.
        translate: the call, given what the function was given and what it returned. Raises PassedOver where it cannot
            be recorded. It runs without gradients, and may neither change a tensor that it gets nor draw random
            numbers.
        hears: whether the function itself is to be heard, given its arguments; else one that it calls is.
        below: where the attention is inside the module that calls the function, e.g. ``"self_attn"``; mostly empty.
        understands: whether a tensor that cannot be read like others, such as a mask of a library's own class, is one
            that translate knows.
    """

    module: str
    name: str
    function: str
    translate: Callable[[Args, Kwargs, Any], RawCall]
    hears: Callable[[Args, Kwargs], bool] = _always
    below: str = ""
    understands: Callable[[Tensor], bool] = _never
