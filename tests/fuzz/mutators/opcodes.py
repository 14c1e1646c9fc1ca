"""Mutation of pickles: opcodes that are changed, dropped, doubled, moved, or replaced by ones that would run code.

None of them runs anything in a reader that keeps its promise; what they would run does no harm where one does not.
"""

import pickletools
import random
import struct

from tests.fuzz.mutators.numbers import INTEGERS, text
from tests.fuzz.mutators.raw import mutate_bytes

GLOBALS = (
    b"builtins\neval", b"posix\ngetpid", b"builtins\nprint", b"torch\nload", b"torch._utils\n_rebuild_tensor_v2",
    b"torch\ndevice",
    b"torch._utils\n_rebuild_parameter", b"collections\nOrderedDict", b"torch\nFloatStorage",
    b"torch\nBFloat16Storage",
    b"torch.storage\nUntypedStorage", b"torch\nSize", b"torch._utils\n_rebuild_sparse_tensor", b"torch\ncomplex64",
    b"torch._utils\n_rebuild_qtensor", b"torch._tensor\n_rebuild_from_type_v2",
    b"torch._utils\n_rebuild_meta_tensor_no_storage",
    b"torch._utils\n_rebuild_nested_tensor", b"torch\nQInt8Storage", b"torch.nn.parameter\nParameter", b"numpy\ndtype",
    b"torch._utils\n_rebuild_device_tensor_from_numpy", b"torch._utils\n_rebuild_wrapper_subclass",
    b"torch.serialization\n_get_layout",
)  # fmt: skip
PIECES = (
    b"(", b")", b"}", b"]", b"N", b"0", b"1", b"2", b"t", b"l", b"d", b"s", b"u", b"a", b"e", b"b", b"R", b"Q",
    b"\x81", b"\x85",
    b"\x86", b"\x87", b".", b"K\x00", b"h\x00", b"q\x00", b"J\xff\xff\xff\xff", b"\x8a\xff" + b"\xff" * 255,
    b"G\x7f\xf8\0\0\0\0\0\0",
    b"X\xff\xff\xff\x7f", b"r\xff\xff\xff\xff", b"j\xff\xff\xff\x7f", b"\x88", b"\x89", b"\x8f", b"\x94",
    b"(" * 3000, b"]" * 3000,
)  # fmt: skip


def mutate_pickle(data: bytes, draw: random.Random) -> bytes:
    """One change of an opcode, or of the bytes where they are none."""
    ends = _places(data)
    if len(ends) < 3 or draw.random() < 0.1:
        return mutate_bytes(data, draw)
    at = draw.randrange(len(ends) - 1)
    first, last = ends[at], ends[at + 1]
    pick, opcode = draw.random(), data[first:last]
    if pick < 0.45:
        return data[:first] + _argument(opcode, draw) + data[last:]
    if pick < 0.55:
        return data[:first] + data[last:]
    if pick < 0.65:
        return data[:last] + opcode * draw.choice((1, 2, 50)) + data[last:]
    if pick < 0.75:
        return data[:first] + b"c" + draw.choice(GLOBALS) + b"\n" + data[draw.choice((first, last)) :]
    if pick < 0.9:
        return data[:first] + draw.choice(PIECES) + data[draw.choice((first, last)) :]
    other = draw.randrange(len(ends) - 1)
    return data[:first] + data[ends[other] : ends[other + 1]] + data[draw.choice((first, last)) :]


def _places(data: bytes) -> list[int]:
    """Where opcodes begin, as far as they can be told apart, and where the last ends."""
    places = []
    try:
        for _, _, place in pickletools.genops(data):
            places.append(place or 0)
    except Exception:  # past the first opcode that is none, all is bytes
        pass
    return [*places, len(data)] if places else []


def _argument(opcode: bytes, draw: random.Random) -> bytes:
    """The opcode with another argument of the same form."""
    code, rest = opcode[:1], opcode[1:]
    form = {b"K": "<B", b"M": "<H", b"J": "<i", b"G": ">d", b"h": "<B", b"q": "<B", b"j": "<I", b"r": "<I"}.get(code)
    if form == ">d":
        return code + struct.pack(form, draw.choice((float("nan"), float("inf"), 1e308, 0.0)))
    if form == "<i":
        return code + struct.pack(form, draw.choice(INTEGERS) % 2**32 - 2**31)
    if form is not None:
        return code + struct.pack(form, draw.choice((0, 1, 2, 3, 4, 8, 255, 2**16 - 1)) % 256 ** struct.calcsize(form))
    if code == b"\x8a":
        size = draw.choice((1, 4, 8, 9, 200))
        return code + bytes([size]) + draw.choice((b"\xff", b"\x7f", b"\0", b"\1")) * size
    if code == b"X":
        name = (
            text(draw, rest[4:].decode("utf-8", "replace"))
            if draw.random() < 0.6
            else draw.choice(("q", "k", "v", "mask"))
        )
        told = name.encode("utf-8", "surrogatepass")
        return code + struct.pack("<I", len(told)) + told
    return code + mutate_bytes(rest, draw) if rest else draw.choice(PIECES)
