"""Mutation of zips, the form of ``.npz`` and ``.pt``: what is in them, how they list it, and how that is packed."""

import io
import random
import struct
import zipfile
import zlib
from dataclasses import dataclass, replace

from tests.fuzz.mutators.arrays import mutate_npy
from tests.fuzz.mutators.numbers import INTEGERS, text
from tests.fuzz.mutators.opcodes import mutate_pickle
from tests.fuzz.mutators.raw import mutate_bytes
from tests.fuzz.mutators.tensors import NAMES

LARGEST_MEMBER = 2**17
LOCAL, CENTRAL, END = b"PK\3\4", b"PK\1\2", b"PK\5\6"


@dataclass(frozen=True)
class Member:
    """One entry; what the two lists of a zip say of it may differ from what it is.

    Attributes:
        name: as it stands in the archive.
        content: as it is before it is packed.
        method: 0 stored, 8 deflated; others are lies.
        flags: bit 0 says that it is encrypted.
        lies: what the directory says instead of packed size, size, checksum and offset; None says the truth.
    """

    name: bytes
    content: bytes
    method: int = 0
    flags: int = 0
    lies: tuple[int | None, int | None, int | None, int | None] = (None,) * 4


def mutate_zip(data: bytes, draw: random.Random) -> bytes:
    """One change of a member, of the list of members, or of the bytes."""
    members = _members(data)
    if not members or draw.random() < 0.1:
        return mutate_bytes(data, draw)
    at = draw.randrange(len(members))
    pick = draw.random()
    if pick < 0.6:
        members[at] = replace(members[at], content=_content(members[at], draw))
    elif pick < 0.7:
        members[at] = replace(members[at], name=_name(members[at].name, draw))
    elif pick < 0.76:
        del members[at]
    elif pick < 0.82:
        other = draw.choice(members)
        members.insert(at, replace(other, name=draw.choice((other.name, members[at].name))))
    elif pick < 0.88:
        members[at] = replace(
            members[at], method=draw.choice((0, 8, 8, 12, 14, 99)), flags=draw.choice((0, 0, 1, 8, 0x800))
        )
    else:
        lies: list[int | None] = list(members[at].lies)
        lies[draw.randrange(4)] = draw.choice(INTEGERS) % 2**32
        members[at] = replace(members[at], lies=(lies[0], lies[1], lies[2], lies[3]))
    return written(members)


def _members(data: bytes) -> list[Member]:
    """What a zip holds, as far as it can be read."""
    found = []
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for info in archive.infolist():
                with archive.open(info) as file:
                    method = 8 if info.compress_type == 8 else 0
                    found.append(Member(info.filename.encode("utf-8", "replace"), file.read(LARGEST_MEMBER), method))
    except Exception:  # a broken zip is one that bytes are changed of
        return []
    return found


def _content(member: Member, draw: random.Random) -> bytes:
    if member.name.endswith(b".npy"):
        if draw.random() < 0.03:
            return member.content + b"\0" * draw.choice((2**10, 2**17))  # packs to nearly nothing
        return mutate_npy(member.content, draw)
    return mutate_pickle(member.content, draw) if member.name.endswith(b".pkl") else mutate_bytes(member.content, draw)


def _name(name: bytes, draw: random.Random) -> bytes:
    _, dot, suffix = name.rpartition(b".")
    if dot and draw.random() < 0.6:
        return draw.choice(NAMES).encode() + dot + suffix
    return text(draw, name.decode("utf-8", "replace")).encode("utf-8", "surrogatepass")


def written(members: list[Member]) -> bytes:
    """A zip of these members; torch's own reader wants the numbers at multiples of 64 bytes, so it stays lenient."""
    body, directory = bytearray(), bytearray()
    for one in members:
        packed = zlib.compress(one.content, 9)[2:-4] if one.method == 8 else one.content
        truth = (len(packed), len(one.content), zlib.crc32(one.content), len(body))
        size, whole, checksum, offset = (t if lie is None else lie for t, lie in zip(truth, one.lies, strict=True))
        method, length = one.method, len(one.name) % 2**16
        pad = -(len(body) + 30 + length) % 64 if one.method == 0 else 0
        body += LOCAL + struct.pack("<5H3I2H", 20, one.flags, method, 0, 33, checksum, size, whole, length, pad)
        body += one.name[:length] + b"\0" * pad + packed
        directory += CENTRAL + struct.pack("<6H3I5H2I", 20, 20, one.flags, method, 0, 33, checksum, size, whole, length,
                                           0, 0, 0, 0, 0, offset) + one.name[:length]  # fmt: skip
    end = END + struct.pack("<4H2IH", 0, 0, len(members), len(members), len(directory), len(body), 0)
    return bytes(body + directory + end)
