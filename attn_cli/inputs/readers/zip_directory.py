"""What a zip says of its members, checked before any of them is opened."""

from __future__ import annotations

import os
import zipfile
from typing import BinaryIO

from attn_cli.errors import in_file
from attn_cli.inputs.limits import LARGEST_HEADER, LONGEST_NAME, MIB
from attn_cli.inputs.readers.opened import OpenFile
from attn_cli.inputs.text import shown

ENTRY, END, END_64, LOCATOR = b"PK\x01\x02", b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"
END_SIZE, END_64_SIZE, LOCATOR_SIZE = 22, 56, 20
LONGEST_COMMENT = 2**16 - 1
UNICODE_PATH = 0x7075  # another name of a member, which some readers prefer
LOCAL_SIZE = 30  # bytes before a member's name
ENCRYPTED = 1


def open_zip(
    file: OpenFile, methods: frozenset[int], expected: str, most: int, *, is_torch: bool = False
) -> zipfile.ZipFile:
    """Open a zip each of whose members has a name, a place and a way to be read of its own.

    Args:
        file: the same, open.
        methods: ways of compression that are taken.
        expected: what the file should be, for messages.
        most: members that it may have.
        is_torch: PyTorch's reader of zips will read it too, which ignores case and takes no comment: nothing in it may
            be read otherwise there than here.

    Raises:
        InputError: where it is encrypted, names a member twice, has members that overlap or do not end before the
            directory, or too large a directory.
        zipfile.BadZipFile, OSError: where it is no zip.
    """
    stream = file.stream()
    begin, length = _directory(stream, file.label, expected, 0 if is_torch else LONGEST_COMMENT)
    stream.seek(max(begin, 0))
    members = stream.read(length).count(ENTRY)
    if members > most:
        raise in_file(file.label, f"has {members} members", f"expected at most {most}")
    archive = zipfile.ZipFile(stream)
    _check_members(archive, begin, file.label, methods, expected)
    if is_torch:
        _check_names(archive, file.label)
    return archive


def _directory(stream: BinaryIO, label: str, expected: str, comment: int) -> tuple[int, int]:
    """Where the directory begins and how long it is; one too long, or that readers differ about, is refused."""
    size = stream.seek(0, os.SEEK_END)
    begin = max(size - END_64_SIZE - LOCATOR_SIZE - END_SIZE - comment, 0)
    stream.seek(begin)
    tail = stream.read(size - begin)
    place = tail.rfind(END, 0, len(tail) - END_SIZE + len(END))
    behind = len(tail) - place - END_SIZE
    is_end = place >= 0 and behind <= comment and _number(tail, place + 20, 2) == behind
    length = _number(tail, place + 12, 4)
    locator = place - LOCATOR_SIZE
    if is_end and locator >= 0 and tail.startswith(LOCATOR, locator):
        place = locator - END_64_SIZE
        is_end = place >= 0 and tail.startswith(END_64, place) and _number(tail, locator + 8, 8) == begin + place
        length = _number(tail, place + 40, 8)
    if not is_end:
        raise in_file(label, "does not end as a zip does", expected)
    if length > LARGEST_HEADER:
        limit = f"expected at most {LARGEST_HEADER // MIB} MiB"
        raise in_file(label, f"the directory of the zip is {length} bytes long", limit)
    return begin + place - length, length


def _number(content: bytes, place: int, size: int) -> int:
    return int.from_bytes(content[max(place, 0) : max(place, 0) + size], "little")


def _check_members(
    archive: zipfile.ZipFile, directory: int, label: str, methods: frozenset[int], expected: str
) -> None:
    members = archive.infolist()
    seen: set[str] = set()
    end = 0
    for member in sorted(members, key=lambda member: member.header_offset):
        name = shown(member.filename)
        if member.filename in seen:
            raise in_file(label, f"two members are called {name}", "expected each name once")
        if len(member.filename) > LONGEST_NAME:
            found = f"a name in it has {len(member.filename)} characters"
            raise in_file(label, found, f"expected at most {LONGEST_NAME}")
        if member.flag_bits & ENCRYPTED:
            raise in_file(label, f"{name} is encrypted", expected)
        if member.compress_type not in methods:
            raise in_file(label, f"{name} is compressed by method {member.compress_type}", expected)
        if member.header_offset < end:
            raise in_file(label, f"{name} overlaps with another member", expected)
        seen.add(member.filename)
        end = member.header_offset + LOCAL_SIZE + member.compress_size
        if end > directory:
            raise in_file(label, f"{name} does not lie before the directory", expected)


def _check_names(archive: zipfile.ZipFile, label: str) -> None:
    """Refuse members that PyTorch's reader, which ignores case, takes for one another, and those of two names."""
    seen: dict[str, str] = {}
    for member in archive.infolist():
        name = member.filename
        other = seen.setdefault(name.casefold(), name)
        if other != name:
            found = f"two members are called {shown(other)} and {shown(name)}"
            raise in_file(label, found, "expected names that differ in more than case")
        if UNICODE_PATH in _extra_kinds(member.extra):
            raise in_file(label, f"{shown(name)} has a second name", "expected one name each")


def _extra_kinds(extra: bytes) -> set[int]:
    """What a member's additional fields are: a number each, a length, and so many bytes."""
    kinds, place = set(), 0
    while place + 4 <= len(extra):
        kinds.add(int.from_bytes(extra[place : place + 2], "little"))
        place += 4 + int.from_bytes(extra[place + 2 : place + 4], "little")
    return kinds
