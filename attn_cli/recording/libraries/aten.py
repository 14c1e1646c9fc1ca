"""What ATen's operators were given, by name."""

from __future__ import annotations

import functools
import operator
import sys
from typing import Any

from attn_cli.recording.libraries.base import Args, Kwargs


def by_name(name: str, args: Args, kwargs: Kwargs) -> dict[str, Any]:
    """The arguments of a call of ``torch.ops.aten.<name>``, those that were given."""
    return {**dict(zip(_parameters(name), args, strict=False)), **kwargs}


@functools.cache
def _parameters(name: str) -> tuple[str, ...]:
    overload = operator.attrgetter(f"ops.aten.{name}.default")(sys.modules["torch"])
    return tuple(argument.name for argument in overload._schema.arguments)
