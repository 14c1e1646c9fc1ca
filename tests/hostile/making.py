"""Files as nobody should write them, byte by byte."""

import io
import json
import math
import struct
import warnings
import zipfile

import numpy as np

SHAPE = (1, 2, 4, 8)
SIZE = 4 * math.prod(SHAPE)  # bytes of one tensor
NUMBERS = np.random.default_rng(0).standard_normal((3, *SHAPE)).astype("f4")
DATA = NUMBERS.tobytes()


def entry(number=0, *, shape=SHAPE, dtype="F32", offsets=None):
    """The header's entry of the first, second or third tensor of :data:`DATA`, or of what is said of it."""
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets or [number * SIZE, (number + 1) * SIZE]}


def three(**others):
    """The entries of q, k and v, some replaced, some added."""
    return {name: entry(number) for number, name in enumerate("qkv")} | others


def safetensors(header=None, data=DATA, length=None):
    """A safetensors file of this header, of which it may say another length."""
    text = header if isinstance(header, bytes) else json.dumps(three() if header is None else header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def bytes_of(content):
    """The bytes of a file; what takes long to make is made where it is needed."""
    return content() if callable(content) else content


def npy(array=NUMBERS[0]):
    """An ``.npy`` file."""
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


def npy_of(header, data=b"", version=(1, 0)):
    """An ``.npy`` file with any text as its header."""
    text = header.encode("latin1")
    length = struct.pack("<H" if version == (1, 0) else "<I", len(text))
    return b"\x93NUMPY" + bytes(version) + length + text + data


def described(shape, descr="<f4", fortran=False):
    """The text of an ``.npy`` header."""
    return f"{{'descr': {descr!r}, 'fortran_order': {fortran}, 'shape': {shape}, }}\n"


def zipped(*members, method=zipfile.ZIP_STORED):
    """A zip of these names and contents, in this order, names that stand twice among them."""
    stream = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(stream, "w", method) as archive:
        warnings.simplefilter("ignore")
        for name, content in members:
            info = zipfile.ZipInfo(name)
            info.compress_type = method
            archive.writestr(info, content)
    return stream.getvalue()


def patched(content, *, last=False, **values):
    """A zip whose directory says other things of its first or its last member."""
    offset = (content.rindex if last else content.index)(b"PK\x01\x02")
    places = {"flags": 8, "method": 10, "packed": 20, "size": 24, "offset": 42}
    changed = bytearray(content)
    for name, value in values.items():
        kind = "<H" if name in ("flags", "method") else "<I"
        struct.pack_into(kind, changed, offset + places[name], value)
    return bytes(changed)


def commented(content):
    """A zip with a comment at its end."""
    return content[:-2] + struct.pack("<H", 4) + b"text"


def npz(**replaced):
    """An ``.npz`` file of q, k and v, some of them other bytes or None for none."""
    arrays = {name: npy(NUMBERS[number]) for number, name in enumerate("qkv")} | replaced
    return zipped(*((f"{name}.npy", content) for name, content in arrays.items() if content is not None))
