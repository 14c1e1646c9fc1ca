"""What a zip says of its members, checked before any of them is opened."""

from __future__ import annotations

import os
import zipfile
from typing import BinaryIO

from attn_cli.errors import in_file
from attn_cli.inputs.limits import LARGEST_HEADER, LONGEST_NAME, MIB, MOST_NAMES
from attn_cli.inputs.text import shown

END, END_64 = b"PK\x05\x06", b"PK\x06\x06"
END_SIZE, END_64_SIZE, LOCATOR_SIZE = 22, 56, 20
LOCAL_SIZE = 30  # bytes before a member's name
ENCRYPTED = 1


def open_zip(path: str, label: str, methods: frozenset[int], expected: str) -> zipfile.ZipFile:
    """Open a zip each of whose members has a name, a place and a way to be read of its own.

    Args:
        path: of the file.
        label: how messages name it.
        methods: ways of compression that are taken.
        expected: what the file should be, for messages.

    Raises:
        InputError: where it is encrypted, names a member twice, has members that overlap, or is too large a directory.
        zipfile.BadZipFile, OSError: where it is no zip.
    """
    with open(path, "rb") as file:
        _check_directory(file, label, expected)
    archive = zipfile.ZipFile(path)
    try:
        _check_members(archive, label, methods, expected)
    except BaseException:
        archive.close()
        raise
    return archive


def _check_directory(file: BinaryIO, label: str, expected: str) -> None:
    """Refuse a directory that is too long to be read, or that other readers of zips might look for elsewhere."""
    size = file.seek(0, os.SEEK_END)
    tail_size = min(size, END_SIZE + LOCATOR_SIZE + END_64_SIZE)
    file.seek(size - tail_size)
    tail = file.read(tail_size)
    end = tail[-END_SIZE:]
    if not end.startswith(END) or int.from_bytes(end[20:22], "little"):
        raise in_file(label, "does not end as a zip does", expected)
    length = int.from_bytes(end[12:16], "little")
    if len(tail) > END_SIZE and tail.startswith(END_64):
        length = int.from_bytes(tail[40:48], "little")
    if length > LARGEST_HEADER:
        limit = f"expected at most {LARGEST_HEADER // MIB} MiB"
        raise in_file(label, f"the directory of the zip is {length} bytes long", limit)


def _check_members(archive: zipfile.ZipFile, label: str, methods: frozenset[int], expected: str) -> None:
    members = archive.infolist()
    if len(members) > MOST_NAMES:
        raise in_file(label, f"has {len(members)} members", f"expected at most {MOST_NAMES}")
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
