"""The header of a safetensors file: names, dtypes, shapes, places and metadata, all of it checked.

Format: https://github.com/huggingface/safetensors#format. Checked here are, beside what the safetensors library checks,
names that stand twice, of which that library silently takes the last. Free of torch.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import BinaryIO, NoReturn

from attn_cli.errors import in_file
from attn_cli.inputs.collecting import nothing_collected
from attn_cli.inputs.json_text import parsed
from attn_cli.inputs.limits import LARGEST_HEADER, LONGEST_NAME, MIB, MOST_AXES, MOST_NAMES
from attn_cli.inputs.text import few, shown

KIND = "expected a whole safetensors file"
PREFIX = 8  # bytes that hold the header's length
METADATA = "__metadata__"
KEYS = frozenset(["dtype", "shape", "data_offsets"])
FARTHEST = 2**63
BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "U16": 16, "I16": 16, "U32": 32, "I32": 32, "U64": 64, "I64": 64,
    "F64": 64, "F32": 32, "F16": 16, "BF16": 16, "C64": 64,
    "F8_E4M3": 8, "F8_E5M2": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "F8_E8M0": 8,
    "F6_E2M3": 6, "F6_E3M2": 6, "F4": 4,
}  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """One tensor.

    Attributes:
        dtype: the format's name of it, ``"BF16"``.
        shape: its sizes.
        begin, end: where its bytes are in the data.
    """

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True)
class Header:
    """What a header says.

    Attributes:
        entries: by name, in alphabetic order.
        metadata: texts by name.
        start: where in the file the data begin.
        size: of the whole file, in bytes.
    """

    entries: Mapping[str, Entry]
    metadata: Mapping[str, str]
    start: int
    size: int


def header_length(head: bytes, label: str) -> int:
    """How long the header is, by the first bytes of a file.

    Args:
        head: at least nine bytes, where there are so many.
        label: how messages name the file.

    Raises:
        InputError: where no header follows, or one that is too long.
    """
    if not head:
        raise in_file(label, "is empty", KIND)
    if len(head) <= PREFIX:
        raise in_file(label, f"has {len(head)} bytes", KIND)
    length = int.from_bytes(head[:PREFIX], "little")
    if head[PREFIX:9] != b"{" or length < 2:
        raise in_file(label, "does not begin with a safetensors header", KIND)
    if length > LARGEST_HEADER:
        limit = f"expected at most {LARGEST_HEADER // MIB} MiB, enough for {MOST_NAMES} names"
        raise in_file(label, f"its header is {length} bytes long", limit)
    return length


def read_header(file: BinaryIO, size: int | None, label: str) -> Header:
    """Read and check the header of a stream that stands at its beginning.

    Args:
        file: the stream.
        size: of the whole file in bytes, or None where that is not known.
        label: how messages name it.

    Raises:
        InputError: where the header is broken, lies about the file, or is too large.
    """
    head = file.read(PREFIX + 1)
    length = header_length(head, label)
    if size is not None and PREFIX + length > size:
        raise in_file(label, f"its header says that it is {length} bytes long, in a file of {size}", KIND)
    text = head[PREFIX:] + file.read(length - 1)
    if len(text) < length:
        raise in_file(label, f"ends in its header, {PREFIX + len(text)} bytes from its beginning", KIND)
    with nothing_collected():
        return _Parser(label).header(text, size)


@dataclass(frozen=True)
class _Parser:
    label: str

    def header(self, text: bytes, size: int | None) -> Header:
        if text.count(b'"data_offsets"') > MOST_NAMES:
            raise in_file(self.label, f"names more than {MOST_NAMES} tensors", f"expected at most {MOST_NAMES}")
        found = parsed(text, self.label, KIND, "its header")
        if rb"\ud" in text.lower():
            self._check_characters(found)
        if not isinstance(found, dict):
            self.refuse("its header is no JSON object")
        metadata = self._metadata(found.pop(METADATA, {}))
        entries = {name: self._entry(name, found[name]) for name in sorted(found)}
        end = self._end(entries)
        start = PREFIX + len(text)
        if size is not None and start + end != size:
            self.refuse(f"holds {size - start} bytes of tensors where its header says {end}")
        return Header(entries, metadata, start, start + end)

    def refuse(self, found: str) -> NoReturn:
        raise in_file(self.label, found, KIND)

    def _check_characters(self, found: object) -> None:
        """Refuse half of a character, which JSON can spell and UTF-8 cannot."""
        try:
            json.dumps(found, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise in_file(self.label, "its header holds half of a character", KIND) from error

    def _metadata(self, found: object) -> dict[str, str]:
        if not isinstance(found, dict):
            self.refuse("its metadata is no JSON object")
        for name, value in found.items():
            self._check_name(name)
            if not isinstance(value, str):
                self.refuse(f"metadata {shown(name)} is no text")
        return found

    def _check_name(self, name: str) -> None:
        if len(name) > LONGEST_NAME:
            raise in_file(self.label, f"a name in it has {len(name)} characters", f"expected at most {LONGEST_NAME}")

    def _entry(self, name: str, found: object) -> Entry:
        self._check_name(name)
        if not isinstance(found, dict) or found.keys() != KEYS:
            self.refuse(f"{shown(name)} has {_keys(found)} in the header, where dtype, shape and data_offsets belong")
        dtype, shape, place = found["dtype"], found["shape"], found["data_offsets"]
        if not isinstance(dtype, str) or dtype not in BITS:
            known = f"expected one of {', '.join(BITS)}"
            raise in_file(self.label, f"{shown(name)} has dtype {shown(str(dtype), 40)}", known)
        if not _are_sizes(shape) or len(shape) > MOST_AXES:
            sizes = f"expected at most {MOST_AXES} whole numbers from 0"
            raise in_file(self.label, f"{shown(name)} has the shape {shown(str(shape), 60)}", sizes)
        if not _are_sizes(place) or len(place) != 2 or place[0] > place[1]:
            found_place = f"{shown(name)} has the data_offsets {shown(str(place), 60)}"
            raise in_file(self.label, found_place, "expected where its bytes begin and end")
        if math.prod(max(size, 1) for size in shape) >= FARTHEST:
            self.refuse(f"{shown(name)} is {tuple(shape)}, more numbers than can be counted")
        self._check_bytes(name, dtype, shape, place[1] - place[0])
        return Entry(dtype, tuple(shape), *place)

    def _check_bytes(self, name: str, dtype: str, shape: list[int], there: int) -> None:
        bits = math.prod(shape) * BITS[dtype]
        if bits % 8:
            self.refuse(f"{shown(name)} is {tuple(shape)} {dtype}, which is no whole number of bytes")
        if bits // 8 != there:
            self.refuse(
                f"{shown(name)} is {tuple(shape)} {dtype}, {bits // 8} bytes, and has {there} bytes in the file"
            )

    def _end(self, entries: Mapping[str, Entry]) -> int:
        """Where the data end; every byte of them belongs to one tensor."""
        end, last = 0, "the header"
        for name, entry in sorted(entries.items(), key=lambda item: (item[1].begin, item[1].end)):
            if entry.begin != end:
                what = "overlaps with" if entry.begin < end else "leaves a hole behind"
                self.refuse(f"{shown(name)} {what} {shown(last)}: it begins at byte {entry.begin}, not {end}")
            end, last = entry.end, name
        return end


def _keys(found: object) -> str:
    return (few(found, 4) or "nothing") if isinstance(found, dict) else "no JSON object"


def _are_sizes(found: object) -> bool:
    return isinstance(found, list) and all(type(size) is int and 0 <= size < FARTHEST for size in found)
