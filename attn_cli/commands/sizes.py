"""A terminal's size in the environment that is none: Rich and Typer would stumble over it. Free of torch."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from attn_cli.inputs.numbers import cells

NAMES = ("COLUMNS", "LINES", "TERMINAL_WIDTH")  # the last is Typer's own
_aside: dict[str, str] = {}


@contextmanager
def odd_sizes_aside() -> Iterator[None]:
    """Leave out of this process's environment, as long as the block is, what is no size of a terminal."""
    odd = {name: os.environ.pop(name) for name in NAMES if name in os.environ and cells(os.environ[name]) is None}
    _aside.update(odd)
    try:
        yield
    finally:
        os.environ.update(odd)
        _aside.clear()


def environment_as_given() -> dict[str, str]:
    """The environment with what was left out, for another program."""
    return {**os.environ, **_aside}
