"""NumPy arrays as tensors."""

from __future__ import annotations

import io
import json
import math
import warnings
from typing import Any, BinaryIO

import numpy as np
import torch
from numpy.lib import format as npy
from torch import Tensor

from attn_cli.errors import in_file
from attn_cli.inputs.limits import LONGEST_ARRAY_HEADER, MOST_AXES
from attn_cli.inputs.text import shown

FARTHEST = 2**63
LENGTH_SIZES = {(1, 0): 2, (2, 0): 4}  # bytes of the length of a header, by the version of the format
KINDS = {"f": "float", "i": "int", "u": "uint", "c": "complex"}
READABLE = frozenset(
    ["bool", "complex64", "complex128"]
    + [f"float{bits}" for bits in (16, 32, 64)]
    + [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]
)
Array = np.ndarray[Any, np.dtype[Any]]


def array_dtype_name(dtype: np.dtype[Any]) -> str:
    """NumPy's dtype by torch's name; one that torch lacks by NumPy's own."""
    if dtype.kind == "b":
        return "bool"
    return f"{KINDS[dtype.kind]}{dtype.itemsize * 8}" if dtype.kind in KINDS else str(dtype)


def check_dtype(dtype: np.dtype[Any], name: str, label: str) -> None:
    """Refuse a dtype that torch lacks, such as objects, text or NumPy's void for bfloat16."""
    if array_dtype_name(dtype) not in READABLE:
        hint = "save bfloat16 as safetensors" if dtype.kind == "V" else None
        raise in_file(label, f"{shown(name)} has dtype {shown(str(dtype))}", "expected numbers or booleans", hint)


def as_tensor(array: Array) -> Tensor:
    """The array as a tensor on the same memory; one in foreign byte order is copied."""
    if array.dtype.kind == "b":
        array = array.view(np.uint8) != 0  # in a file they may be any byte
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    return torch.from_numpy(array)


def read_header(file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether the first axis varies fastest, and dtype: the head of an ``.npy`` stream.

    The stream is left at the first number.

    Raises:
        ValueError: where it is no such stream.
    """
    version = npy.read_magic(file)
    if version not in LENGTH_SIZES:
        raise ValueError(f"npy format version {version[0]}.{version[1]}")
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    header = _header(file, LENGTH_SIZES[version])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about headers of Python 2
            shape, is_fortran, dtype = read(header)
    except (MemoryError, RecursionError) as error:  # what Python says of text that is nested too deeply
        raise ValueError("its header is no dict") from error
    are_sizes = all(type(size) is int and 0 <= size < FARTHEST for size in shape)  # True is none
    if len(shape) > MOST_AXES or not are_sizes:
        raise ValueError(f"the shape in it is none: {shown(str(shape), 60)}")
    if math.prod(max(size, 1) for size in shape) >= FARTHEST:
        raise ValueError(f"it is {shape}, more numbers than can be counted")
    return shape, is_fortran, dtype


def _header(file: BinaryIO, size: int) -> io.BytesIO:
    """The header and its length before it, which NumPy believes: it may promise gigabytes."""
    length = file.read(size)
    count = int.from_bytes(length, "little")
    if count > LONGEST_ARRAY_HEADER:
        raise ValueError(f"its header is {count} bytes long, more than {LONGEST_ARRAY_HEADER}")
    return io.BytesIO(length + file.read(count))


def as_text(array: Array) -> str | None:
    """A single value or an array of texts as a metadata value; None for what is a tensor."""
    if array.dtype.kind == "U":
        return str(array[()]) if array.ndim == 0 else json.dumps(array.tolist())
    return scalar_text(array.item()) if array.ndim == 0 else None


def scalar_text(value: bool | int | float | str) -> str:
    """One value as metadata has it: ``True`` is ``"true"``."""
    return str(value).lower() if isinstance(value, bool) else str(value)
