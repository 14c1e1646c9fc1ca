"""What every reader offers, and what the readers share."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

import torch

from attn_cli.errors import AttnError, ResourceError, in_file
from attn_cli.inputs.paths import FAILING, unreadable
from attn_cli.inputs.readers.opened import OpenFile
from attn_cli.inputs.text import reason_of
from attn_cli.inputs.types import TensorInfo


class TensorFile(Protocol):
    """An open file of named tensors; nothing is read before it is asked for.

    Attributes:
        path: how messages name the file.
        names: the tensors' full names.
        metadata: the file's text values by name.
    """

    @property
    def path(self) -> str:
        """How messages name the file."""
        ...

    @property
    def names(self) -> Sequence[str]:
        """The tensors' full names."""
        ...

    @property
    def metadata(self) -> Mapping[str, str]:
        """The file's text values by name."""
        ...

    def info(self, name: str) -> TensorInfo:
        """Shape and dtype of one tensor, without its numbers."""
        ...

    def read(self, name: str) -> torch.Tensor:
        """One tensor on the CPU, mapped into memory where the format allows it; not to be written to.

        Raises:
            InputError: where it cannot be read or is no tensor that torch has.
        """
        ...

    def check_unchanged(self) -> None:
        """Refuse a file that changed since it was opened; asked before anything is told of what was read.

        Raises:
            InputError: where it was written to or cut short.
        """
        ...

    def close(self) -> None:
        """Let go of the file; tensors that were read stay valid."""
        ...


def settled(x: torch.Tensor) -> torch.Tensor:
    """A tensor of booleans that are 0 or 1, as PyTorch takes for granted; in a file they may be any byte."""
    return x.view(torch.uint8) != 0 if x.dtype == torch.bool else x


@contextmanager
def parsing(file: OpenFile, kind: str) -> Iterator[None]:
    """Turn whatever a library raises on a broken or hostile file into an :class:`InputError`.

    A parser that is fed arbitrary bytes may raise anything, so everything is caught here and nowhere else. Where the
    file has changed, that is what is wrong with it.

    Args:
        file: that is read.
        kind: what it should be.
    """
    path = file.label
    try:
        yield
    except AttnError:
        raise
    except MemoryError as error:
        raise ResourceError(f"{path}: out of memory while it was read; expected tensors that fit") from error
    except OSError as error:
        raise unreadable(path, error, kind) from error
    except Exception as error:
        if isinstance(error, RuntimeError) and (lack := _lack_in(error)):
            raise unreadable(path, lack, kind) from error
        file.check_unchanged()
        raise in_file(path, f"cannot be read ({reason_of(error)})", f"expected {kind}") from error


def _lack_in(error: RuntimeError) -> OSError | None:
    """What the system lacks where PyTorch, which opens files by itself, has only words for it."""
    number = next((number for number in FAILING if os.strerror(number) in str(error)), None)
    return None if number is None else OSError(number, os.strerror(number))
