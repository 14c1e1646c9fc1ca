"""What attn says about its flags, in the words of its Python API."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from attn_cli.errors import AttnError
from attn_cli.inputs.settings import FILE, METADATA
from attn_cli.inputs.types import Convention, LoadedCall

ARGUMENT = "argument"
_FLAG = re.compile(r"(?<![\w/.-])--([a-z]+(?:-[a-z]+)*)")


@contextmanager
def told_in_python() -> Iterator[None]:
    """Let errors name arguments in place of flags, and carry their hint where a traceback shows it."""
    try:
        yield
    except AttnError as error:
        error.message = in_python(error.message)
        error.args = (error.message,)
        if error.hint:
            error.hint = in_python(error.hint)
            error.add_note(f"hint: {error.hint}")
        raise


def in_python(text: str) -> str:
    """``"--num-heads says how many"`` to ``"num_heads says how many"``."""
    return _FLAG.sub(lambda flag: flag[1].replace("-", "_"), text)


def with_arguments(call: LoadedCall, *, in_memory: bool) -> LoadedCall:
    """The call with its conventions' origins named as a Python program knows them.

    Args:
        call: as it was loaded.
        in_memory: True where there was no file, so that tensors and texts were arguments too.
    """
    said = tuple(replace(one, origin=_origin(one, in_memory)) for one in call.conventions)
    return replace(call, conventions=said)


def _origin(convention: Convention, in_memory: bool) -> str:
    if convention.origin.startswith("--"):
        return f"{in_python(convention.origin)}="
    return ARGUMENT if in_memory and convention.origin in (FILE, METADATA) else convention.origin
