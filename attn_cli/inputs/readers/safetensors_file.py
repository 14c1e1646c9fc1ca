"""safetensors: a header with names, shapes and dtypes, then the bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from attn_cli.errors import in_file
from attn_cli.inputs.readers.base import parsing, settled
from attn_cli.inputs.readers.opened import OpenFile
from attn_cli.inputs.readers.safetensors_header import read_header
from attn_cli.inputs.text import shown
from attn_cli.inputs.types import TensorInfo

KIND = "a whole safetensors file"
DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
    "F8_E8M0": "float8_e8m0fnu",
    "F4": "float4_e2m1fn_x2",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U64": "uint64",
    "U32": "uint32",
    "U16": "uint16",
    "U8": "uint8",
    "BOOL": "bool",
    "C64": "complex64",
}
BELOW_A_BYTE = ("F4", "F6_E2M3", "F6_E3M2")


class SafetensorsFile:
    """An open safetensors file.

    Args:
        file: the same, open.

    Raises:
        InputError: where it is no safetensors file.
    """

    def __init__(self, file: OpenFile) -> None:
        self.path, self._file = file.label, file
        with parsing(file, KIND), file.stream() as stream:
            self._header = read_header(stream, file.size, file.label)
        self.names: Sequence[str] = tuple(self._header.entries)
        self.metadata: Mapping[str, str] = self._header.metadata

    @property
    def header_size(self) -> int:
        """Bytes before the tensors'."""
        return self._header.start

    def has(self, name: str) -> bool:
        """Whether a tensor is called so."""
        return name in self._header.entries

    def info(self, name: str) -> TensorInfo:
        """Shape and dtype of one tensor, out of the header."""
        entry = self._header.entries[name]
        return TensorInfo(name, entry.shape, DTYPES.get(entry.dtype, entry.dtype.lower()))

    def read(self, name: str) -> Tensor:
        """One tensor; a large one as a view of the mapped file: only the pages that are later used are read."""
        entry = self._header.entries[name]
        dtype = getattr(torch, DTYPES.get(entry.dtype, ""), None)
        if dtype is None or entry.dtype in BELOW_A_BYTE:
            raise in_file(
                self.path, f"{shown(name)} has dtype {entry.dtype}", "expected one that PyTorch computes with"
            )
        length = entry.end - entry.begin
        if length == 0:
            return torch.empty(entry.shape, dtype=dtype)
        with parsing(self._file, KIND):
            content = self._file.bytes_at(self._header.start + entry.begin, length)
            return settled(torch.frombuffer(content, dtype=dtype).reshape(entry.shape))

    def check_unchanged(self) -> None:
        """Refuse a file that was written to since it was opened."""
        self._file.check_unchanged()

    def close(self) -> None:
        """Nothing to do: the file is closed with the last that needs it, this or a tensor that is mapped."""
