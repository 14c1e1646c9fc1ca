"""The bytes of tensors, as a file takes them."""

from __future__ import annotations

import os
from collections.abc import Iterator

import torch
from torch import Tensor

from attn_cli.attention.types import dtype_name

PIECE = 2**24  # bytes; what is copied of a large tensor at once
NAMES = {
    "bool": "BOOL",
    "uint8": "U8", "uint16": "U16", "uint32": "U32", "uint64": "U64",
    "int8": "I8", "int16": "I16", "int32": "I32", "int64": "I64",
    "float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2",
    "float16": "F16", "bfloat16": "BF16", "float32": "F32", "float64": "F64",
}  # fmt: skip


def storable(x: Tensor) -> Tensor:
    """``x`` without history, in a dtype that a file of every release of safetensors can hold."""
    x = x.detach()
    if dtype_name(x.dtype) in NAMES:
        return x
    return x.to(torch.float32)  # the rarer eight-bit floats, exactly


def stored_dtype(x: Tensor) -> str:
    """safetensors' name of its dtype."""
    return NAMES[dtype_name(x.dtype)]


def write_tensor(handle: int, x: Tensor, begin: int) -> None:
    """Write a tensor row by row at ``begin`` of an open file.

    One that is not contiguous, or not on the CPU, is copied a piece at a time.

    Raises:
        OSError: where the disk refuses.
    """
    for piece in _pieces(x):
        own = piece.cpu().contiguous().resolve_neg()
        flat = own.as_strided((own.numel(),), (1,))  # a single number may have any stride
        begin = _write(handle, flat.view(torch.uint8).numpy().data, begin)


def _pieces(x: Tensor) -> Iterator[Tensor]:
    """Parts of ``x`` that follow each other in row-major order, each small or ready to be written."""
    if x.nbytes <= PIECE or (x.is_contiguous() and x.device.type == "cpu"):
        yield x
        return
    axis = next(axis for axis, size in enumerate(x.shape) if size > 1)
    size = x.shape[axis]
    rows = max(1, PIECE * size // x.nbytes)
    for first in range(0, size, rows):
        yield from _pieces(x.narrow(axis, first, min(rows, size - first)))


def _write(handle: int, data: memoryview, begin: int) -> int:
    """Where the next bytes go; the system may take fewer than it is given at once."""
    while data:
        count = os.pwrite(handle, data, begin)
        begin, data = begin + count, data[count:]
    return begin
