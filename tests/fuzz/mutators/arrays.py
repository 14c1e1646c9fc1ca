"""Mutation of NumPy's ``.npy``: version, header text and numbers."""

import random
import re
import struct

from tests.fuzz.mutators.numbers import integer, text
from tests.fuzz.mutators.raw import mutate_bytes

MAGIC = b"\x93NUMPY"
DESCRIPTIONS = (
    "<f4", "<f8", "<f2", ">f4", "|b1", "<i8", "<u4", "|i1", "<c8", "|O", "<U4", "|S3", "|V2", "<M8[ns]", "<f16",
    "<U0", "",
    "<f4,<f4", "<U999999999", "bfloat16", "|V999999999999",
)  # fmt: skip
HEADERS = (
    "{'descr': '<f4', 'fortran_order': True, 'shape': (2, 2, 3, 2), }", "{'descr': [('a', '<f4')], 'fortran_order': "
    "False, 'shape': (6,), }", "{}", "[]", "{'descr': '<f4', 'fortran_order': 0, 'shape': (-1,)}", "(" * 500,
    "{'descr': '<f4', 'fortran_order': False, 'shape': (True, 2L)}", "{'descr': '<f4', 'fortran_order': False, "
    "'shape': (4611686018427387904, 4, 0)}", "__import__('os')", "-" * 200 + "1", "{'descr': ('<f4', (2, 2)), "
    "'fortran_order': False, 'shape': (2,)}", "9" * 5000,
)  # fmt: skip


def mutate_npy(data: bytes, draw: random.Random) -> bytes:
    """One change of a part of the file, mostly with a header length that agrees."""
    if data[:6] != MAGIC or len(data) < 10 or draw.random() < 0.1:
        return mutate_bytes(data, draw)
    width = 2 if data[6] == 1 else 4
    size = int.from_bytes(data[8 : 8 + width], "little")
    header, body = data[8 + width : 8 + width + size].decode("latin1"), data[8 + width + size :]
    version = data[6:8]
    pick = draw.random()
    if pick < 0.15:
        return data[: len(data) - len(body)] + mutate_bytes(body, draw)
    if pick < 0.4:
        header = re.sub(r"'descr': '[^']*'", f"'descr': '{draw.choice(DESCRIPTIONS)}'", header)
    elif pick < 0.7:
        header = re.sub(r"\d+(?=[,)])", lambda found: _size(found, draw), header, count=draw.choice((1, 2, 9)))
    elif pick < 0.8:
        header = draw.choice(HEADERS)
    elif pick < 0.9:
        header = text(draw, header)
    else:
        version = draw.choice((b"\1\0", b"\2\0", b"\3\0", b"\4\0", b"\0\0"))
    return written(version, header, body)


def written(version: bytes, header: str, body: bytes) -> bytes:
    """The file of these parts."""
    line = header.encode("utf-8", "surrogatepass").ljust(54) + b"\n"
    return MAGIC + version + struct.pack("<H" if version[0] < 2 else "<I", len(line) % 2**16) + line + body


def _size(found: re.Match[str], draw: random.Random) -> str:
    return str(draw.choice((0, 1, 2, 3, 4)) if draw.random() < 0.6 else integer(draw, int(found[0])))
