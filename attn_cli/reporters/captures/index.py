"""What a recording notes of every call that it has written, a line a call. Free of torch."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from attn_cli.inputs.limits import LARGEST_HEADER as LARGEST_HEADER  # what attn reads again

EVEN = 8  # a tensor of a multiple of this many bytes leaves the next one aligned
ROOM = 2**20  # bytes in front of the data, for the header
REST = ".rest"
ITEM_SIZES = {"64": 8, "32": 4, "16": 2}  # by how a dtype's name ends


@dataclass(frozen=True)
class WrittenTensor:
    """One tensor's bytes.

    Attributes:
        role: the last part of its name, ``"q"``.
        dtype: safetensors' name of it, ``"BF16"``.
        shape: its sizes.
        begin, end: where its bytes are: in the data behind :data:`ROOM` or, where they are not a multiple of
            :data:`EVEN`, in the rest.
    """

    role: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int

    @property
    def is_even(self) -> bool:
        """Whether it is in the data, not in the rest."""
        return (self.end - self.begin) % EVEN == 0

    @property
    def item_size(self) -> int:
        """Bytes of one number."""
        return ITEM_SIZES.get(self.dtype[-2:], 1)


@dataclass(frozen=True)
class WrittenCall:
    """One call, all of whose tensors are written.

    Attributes:
        module: path of the module that made it, fit to be a prefix.
        step: how many calls of this module came before.
        tensors: in the order in which they were written.
        metadata: by key, without the call's prefix.
    """

    module: str
    step: int
    tensors: tuple[WrittenTensor, ...]
    metadata: Mapping[str, str]

    def as_line(self) -> bytes:
        """JSON with a line break behind it."""
        tensors = [(one.role, one.dtype, one.shape, one.begin, one.end) for one in self.tensors]
        values = {"module": self.module, "step": self.step, "tensors": tensors, "metadata": dict(self.metadata)}
        return json.dumps(values, separators=(",", ":")).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> WrittenCall:
        """What :meth:`as_line` gave."""
        values = json.loads(line)
        tensors = (WrittenTensor(role, dtype, tuple(shape), *place) for role, dtype, shape, *place in values["tensors"])
        return cls(values["module"], values["step"], tuple(tensors), values["metadata"])


def rest_of(data: Path) -> Path:
    """The file beside the data that holds the tensors which would leave others unaligned."""
    return data.with_name(data.name + REST)


def whole_lines(path: Path) -> Iterator[bytes]:
    """The lines that were written to their end; there may be one more that was not."""
    with path.open("rb") as lines:
        yield from (line for line in lines if line.endswith(b"\n"))


def plain_text(value: str) -> str:
    """``value`` without what UTF-8 cannot hold, such as the undecodable bytes of a file's name."""
    return value.encode("utf-8", "backslashreplace").decode()
