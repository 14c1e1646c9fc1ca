"""Makes a safetensors file of what a recording has written. Free of torch."""

from __future__ import annotations

import errno
import json
import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from attn_cli import __version__
from attn_cli.inputs.names import join, with_step
from attn_cli.reporters.atomic import atomic_write, naming
from attn_cli.reporters.captures.index import (
    LARGEST_HEADER,
    ROOM,
    WrittenCall,
    WrittenTensor,
    plain_text,
    rest_of,
    whole_lines,
)
from attn_cli.reporters.captures.names import own_names

SCHEMA = "attn.capture/1"
LENGTH = struct.Struct("<Q")
ALIGNED = 8
PIECE = 2**24  # bytes that are moved at once
SMALL = 2**26  # bytes; less than this is moved to save the room that its header does not need
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
Placed = tuple[WrittenCall, WrittenTensor]  # with places in the file, behind the header


@dataclass(frozen=True)
class CaptureSummary:
    """What a recording holds.

    Attributes:
        calls: attention calls.
        modules: paths of the modules that made them, in the order of their first calls.
        steps: different steps.
        bytes: size of the file.
        dropped: calls that were written, but that the disk had no room for in the end.
    """

    calls: int = 0
    modules: tuple[str, ...] = ()
    steps: int = 0
    bytes: int = 0
    dropped: int = 0


def finish_capture(data: Path, index: Path, target: str | os.PathLike[str], program: str) -> CaptureSummary:
    """Give a capture its header and its name; without a call nothing is written and nothing replaced.

    Args:
        data: what :class:`~attn_cli.reporters.captures.journal.CaptureJournal` wrote; it is used up.
        index: its lines; one that was not written to its end is no call.
        target: the file to write or to replace, on the same disk.
        program: what was recorded, for the metadata.

    Raises:
        ResourceError: where the disk refuses.
    """
    calls = [WrittenCall.from_line(line) for line in whole_lines(index)] if index.exists() else []
    if not calls:
        return CaptureSummary()
    with naming(target), atomic_write(target) as temporary:  # what is read meanwhile is its own
        os.replace(data, temporary)
        with temporary.open("r+b", buffering=0) as file, rest_of(data).open("rb") as rest:
            kept = _complete(file, rest, calls, program)
        size = temporary.stat().st_size
    modules = tuple(dict.fromkeys(call.module for call in kept))
    steps = len({call.step for call in kept})
    return CaptureSummary(len(kept), modules, steps, size, len(calls) - len(kept))


def _complete(file: BinaryIO, rest: BinaryIO, calls: Sequence[WrittenCall], program: str) -> Sequence[WrittenCall]:
    """Make the file whole. Where the disk is full, the last calls give way; returns those that are in it."""
    while True:
        try:
            placed = _cut_and_append(file, rest, calls)
            header = _header(calls, placed, program)
            end = file.seek(0, os.SEEK_END)
            begin = _begin(len(header), end - ROOM)
            _grow(file, begin - ROOM)
            break
        except OSError as error:
            if error.errno not in NO_ROOM or len(calls) == 1:
                raise
            calls = calls[: len(calls) - max(1, len(calls) // 10)]
    _move(file, ROOM, begin, end - ROOM)
    file.truncate(begin + end - ROOM)
    _write_at(file, 0, LENGTH.pack(begin - LENGTH.size) + header.ljust(begin - LENGTH.size))
    return calls


def _cut_and_append(file: BinaryIO, rest: BinaryIO, calls: Sequence[WrittenCall]) -> list[Placed]:
    """Cut off what belongs to no call, and append the tensors of the rest, those of larger numbers first.

    The format has no gaps between tensors, and each has to be where its numbers are aligned.
    """
    placed = [(call, one) for call in calls for one in call.tensors if one.is_even]
    odd = [(call, one) for call in calls for one in call.tensors if not one.is_even]
    end = max((one.end for _, one in placed), default=0)
    file.truncate(ROOM + end)
    for call, one in sorted(odd, key=lambda each: -each[1].item_size):
        _copy(rest, one.begin, file, ROOM + end, one.end - one.begin)
        placed.append((call, replace(one, begin=end, end=end + one.end - one.begin)))
        end = placed[-1][1].end
    return placed


def _header(calls: Sequence[WrittenCall], placed: Sequence[Placed], program: str) -> bytes:
    """The header's JSON.

    Raises:
        OSError: where it is larger than any reader takes.
    """
    names = own_names(calls)
    own = {"schema": SCHEMA, "attn_version": __version__, "program": plain_text(program)}
    metadata = {**own, **dict(_metadata(calls, names))}
    tensors = {join(_prefix(call, names), one.role): _entry(one) for call, one in placed}
    header = json.dumps({"__metadata__": metadata, **tensors}, separators=(",", ":"), ensure_ascii=False).encode()
    if len(header) > LARGEST_HEADER - ALIGNED:
        raise OSError(errno.EFBIG, "there are too many names for a safetensors file")
    return header


def _metadata(calls: Sequence[WrittenCall], names: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for call in calls:
        yield from ((join(_prefix(call, names), key), text) for key, text in call.metadata.items())


def _prefix(call: WrittenCall, names: Mapping[str, str]) -> str:
    return with_step(names[call.module], call.step)


def _entry(one: WrittenTensor) -> Mapping[str, object]:
    return {"dtype": one.dtype, "shape": one.shape, "data_offsets": (one.begin, one.end)}


def _begin(header: int, data: int) -> int:
    """Where the data shall begin: where they are, unless they have to make room, or are so few that it is waste."""
    needed = LENGTH.size + -(-header // ALIGNED) * ALIGNED
    return ROOM if needed <= ROOM and data >= SMALL else needed


def _grow(file: BinaryIO, count: int) -> None:
    """Take the disk's room for this many bytes behind the end, before anything is moved."""
    end = file.seek(0, os.SEEK_END)
    for done in range(0, count, PIECE):
        _write_at(file, end + done, bytes(min(PIECE, count - done)))


def _move(file: BinaryIO, begin: int, to: int, count: int) -> None:
    """Move bytes within a file, in such an order that none is overwritten before it is read."""
    if begin == to:
        return
    starts = range(0, count, PIECE)
    for start in reversed(starts) if to > begin else starts:
        _copy(file, begin + start, file, to + start, min(PIECE, count - start))


def _copy(source: BinaryIO, begin: int, target: BinaryIO, to: int, count: int) -> None:
    for done in range(0, count, PIECE):
        source.seek(begin + done)
        _write_at(target, to + done, source.read(min(PIECE, count - done)))


def _write_at(file: BinaryIO, place: int, content: bytes) -> None:
    left = memoryview(content)
    while left:
        count = os.pwrite(file.fileno(), left, place)
        place, left = place + count, left[count:]
