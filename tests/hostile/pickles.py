"""Pickles of PyTorch's files as nobody should write them, operation by operation."""

import math
import struct
from functools import partial
from itertools import islice, product

from tests.hostile.making import zipped

LIST = b"]q\x00(" + b"".join(b"M" + number.to_bytes(2, "little") for number in range(20_000)) + b"e"
DICT = b"}q\x00(" + b"".join(b"M" + number.to_bytes(2, "little") + b"N" for number in range(20_000)) + b"u"
TEXT = b"X\x00\x00\x10\x00" + b"a" * 2**20 + b"q\x00X\x06\x00\x00\x00latin1q\x02c_codecs\nencode\nq\x01"
CALLED, ENCODED = b"h\x01h\x00\x85R", b"h\x01h\x00h\x02\x86R"  # the function in place 1 with what is in place 0
SCALES = (
    b"ccollections\nOrderedDict\n)Rq\x02("
    b"(X\x07\x00\x00\x00storagectorch\nQInt8Storage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuM\x30\x75tQ"
    b"K\x00M\x30\x75\x85K\x01\x85(ctorch\nper_channel_affine\nh\x02h\x02K\x00t\x89h\x02tq\x00"
    b"ctorch._utils\n_rebuild_qtensor\nq\x01"
)


def archive_of(program, *storages):
    """A file with a pickle of one's own."""
    members = [("a/data.pkl", program), ("a/version", b"3\n"), ("a/byteorder", b"little")]
    return zipped(*members, *((f"a/data/{number}", content) for number, content in enumerate(storages)))


def often(begin, once, *storages):
    """A file whose pickle does a hundred times with something large what takes a few bytes each time."""
    return archive_of(b"\x80\x02" + begin + once * 100 + b"}.", *storages)


SAME = [math.ldexp(1.0, 61 * power) for power in range(-17, 17)]  # 34 numbers of one hash
FOURS = product(range(len(SAME)), repeat=4)
COLLIDING = b"".join(b"(" + b"".join(b"h%c" % place for place in four) + b"tN" for four in islice(FOURS, 100_000))
ODD_DICT = b"}q\x00(" + b"".join(b"G" + struct.pack(">d", number + 0.5) + b"N" for number in range(3000)) + b"u"
ODD_LIST = b"]q\x00(" + b"".join(b"J" + number.to_bytes(4, "little") for number in range(2**20, 2**20 + 3000)) + b"e"


def colliding():
    """A file with a dict of 100,000 keys of one hash: Python compares each with all before it."""
    numbers = b"".join(b"G" + struct.pack(">d", number) + b"q%c" % place for place, number in enumerate(SAME))
    return archive_of(b"\x80\x02" + numbers + b"}(" + COLLIDING + b"u.")


STORAGE = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x01t"
ARGUMENTS = b"(" + STORAGE + b"QK\x00))\x89ccollections\nOrderedDict\n)Rt"
REBUILD, TYPED = b"ctorch._utils\n_rebuild_tensor_v2\n", b"ctorch._tensor\n_rebuild_from_type_v2\nq\x00("
ONE = REBUILD + b"q\x00" + ARGUMENTS + b"q\x01"
WRAPPED = b"ctorch._utils\n_rebuild_parameter\nq\x00" + REBUILD + ARGUMENTS + b"R\x89}\x87q\x01"
OF_TYPE = TYPED + REBUILD + b"ctorch\nTensor\n" + ARGUMENTS + b"Ntq\x01"
MADE = b"h\x00h\x01R"


def many(begin, once, times=300_000):
    """A file whose pickle makes as many objects out of the same arguments, in a list."""
    return archive_of(b"\x80\x02" + begin + b"](" + once * times + b"e.", bytes(4))


MANY_TENSORS = {
    "many tensors": partial(many, ONE, MADE),
    "many parameters": partial(many, WRAPPED, MADE),
    "many tensors of a type": partial(many, OF_TYPE, MADE),
}
MANY_OBJECTS = {
    "many ordered dicts": partial(many, b"ccollections\nOrderedDict\nq\x00", b"h\x00)R"),
    "many filled dicts": partial(many, b"ccollections\nOrderedDict\nq\x00}q\x01", b"h\x00)Rh\x01b"),
    "many sets": partial(many, b"c__builtin__\nset\nq\x01]\x85q\x00", b"h\x01h\x00R"),
    "many storages": partial(many, STORAGE + b"q\x00", b"h\x00Q"),
}
ODD_KEYS = {
    "keys of one hash": colliding,
    "odd keys in many dicts": lambda: archive_of(b"\x80\x02" + ODD_DICT + (b"}(" + ODD_DICT[4:]) * 3 + b"."),
    "a dict of odd keys that is filled": partial(often, ODD_DICT + b"ccollections\nOrderedDict\n)R", b"h\x00b"),
    "a Counter of odd keys": partial(often, ODD_DICT + b"ccollections\nCounter\nq\x01", CALLED),
    "a set of odd keys": partial(often, ODD_LIST + b"c__builtin__\nset\nq\x01", CALLED),
}
AGAIN = {
    "a dict that is filled": partial(often, DICT + b"ccollections\nOrderedDict\n)R", b"h\x00b"),
    "a set": partial(often, LIST + b"c__builtin__\nset\nq\x01", CALLED),
    "a Counter": partial(often, DICT + b"ccollections\nCounter\nq\x01", CALLED),
    "a text that is encoded": partial(often, TEXT, ENCODED),
    "bytes": partial(often, TEXT + ENCODED + b"q\x00c__builtin__\nbytearray\nq\x01", CALLED),
    "scales of 30,000 channels": partial(often, SCALES, b"h\x01h\x00R", bytes(30_000)),
}
