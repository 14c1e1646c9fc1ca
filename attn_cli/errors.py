"""The errors a user can cause, each with the exit code that scripts rely on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class AttnError(Exception):
    """Something the user can act on: one line, and a hint where there is a remedy.

    Args:
        message: what was found and what was expected, without the leading "attn: error:".
        hint: how to go on, or None.

    Attributes:
        others: further errors of the same work, each to be told as well.
        findings: what was found beside it, as the JSON document tells it.
    """

    code = "error"
    exit_code = 2
    others: tuple[AttnError, ...] = ()
    findings: tuple[Mapping[str, Any], ...] = ()

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(AttnError):
    """The command line itself cannot be understood. Exit code 2."""

    code = "usage"


class InputError(AttnError):
    """A file or a tensor is not what it has to be. Exit code 2."""

    code = "input"


class BackendError(AttnError):
    """The chosen backend cannot run this case. Exit code 2."""

    code = "backend"


class ResourceError(AttnError):
    """The device, the memory or the disk failed. Exit code 3."""

    code = "resource"
    exit_code = 3


def in_file(path: str, found: str, expected: str, hint: str | None = None) -> InputError:
    """An :class:`InputError` in the one form: ``FILE: what was found; what was expected``."""
    return InputError(f"{path}: {found}; {expected}", hint)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory has run out, this machine's or a device's: torch has errors of its own for that."""
    is_torchs = type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error)
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and is_torchs)
