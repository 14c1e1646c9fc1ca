"""Mutation of bytes that are not understood."""

import random
import struct
from collections.abc import Callable

from tests.fuzz.mutators.numbers import FLOATS, INTEGERS

Mutate = Callable[[bytes, random.Random], bytes]


def mutate_bytes(data: bytes, draw: random.Random) -> bytes:
    """One change: a bit, a number, a piece that is cut out, doubled, moved or filled in."""
    return draw.choice((_flip, _number, _float, _cut, _cut_off, _double, _fill, _insert))(data, draw)


def _place(data: bytes, draw: random.Random) -> int:
    return draw.randrange(len(data) + 1)


def _flip(data: bytes, draw: random.Random) -> bytes:
    if not data:
        return b"\0"
    changed = bytearray(data)
    changed[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def _number(data: bytes, draw: random.Random) -> bytes:
    form = draw.choice(("B", "<H", "<I", "<Q", ">I"))
    size = struct.calcsize(form)
    value = draw.choice(INTEGERS) % 256**size
    at = draw.randrange(max(1, len(data) - size + 1))
    return data[:at] + struct.pack(form, value) + data[at + size :]


def _float(data: bytes, draw: random.Random) -> bytes:
    form = draw.choice(("<f", "<d", "<e"))
    size = struct.calcsize(form)
    at = draw.randrange(max(1, len(data) // size)) * size
    try:
        return data[:at] + struct.pack(form, draw.choice(FLOATS)) + data[at + size :]
    except OverflowError:
        return data[:at] + struct.pack(form, float("-inf")) + data[at + size :]


def _cut(data: bytes, draw: random.Random) -> bytes:
    first, last = sorted((_place(data, draw), _place(data, draw)))
    return data[:first] + data[min(last, first + 64) :]


def _cut_off(data: bytes, draw: random.Random) -> bytes:
    return data[: _place(data, draw)]


def _double(data: bytes, draw: random.Random) -> bytes:
    first, last = sorted((_place(data, draw), _place(data, draw)))
    return data[:last] + data[first:last][:256] + data[last:]


def _fill(data: bytes, draw: random.Random) -> bytes:
    first = _place(data, draw)
    size = draw.choice((1, 4, 8, 64))
    return data[:first] + draw.choice((b"\0", b"\xff", b" ", b"[", b"9")) * size + data[first + size :]


def _insert(data: bytes, draw: random.Random) -> bytes:
    at = _place(data, draw)
    return data[:at] + draw.randbytes(draw.choice((1, 2, 8, 32))) + data[at:]
