"""What the modules of a recording are called in its file. Free of torch."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain, count

from attn_cli.inputs.names import join, with_parents
from attn_cli.reporters.captures.index import WrittenCall

OWN = "attention"


def own_names(calls: Iterable[WrittenCall]) -> dict[str, str]:
    """A prefix for each module that no other's stands in, since a call has what stands behind what it stands in.

    A module that attends itself and has others inside it that do so too becomes ``"decoder.attention"``.

    Args:
        calls: all that the file will hold.

    Returns:
        By module; most keep their path.
    """
    every = [(call.module, call.step) for call in calls]
    modules = dict.fromkeys(module for module, _ in every)
    inside = {parent for module in modules for parent in list(with_parents(module))[1:]}
    if len(every) > 1:
        inside.add("")  # the steps of others stand in it
    taken = inside | modules.keys()
    return {module: _inner(module, taken) if module in inside else module for module in modules}


def _inner(module: str, taken: set[str]) -> str:
    """A name inside the module that nothing else has or stands in."""
    names = (join(module, own) for own in chain([OWN], (f"{OWN}_{number}" for number in count(2))))
    return next(name for name in names if name not in taken)
