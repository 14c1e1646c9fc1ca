"""Q, K and V in one ``.npy`` file each. Pickles are never loaded."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from attn_cli.errors import in_file
from attn_cli.inputs.readers.arrays import Array, array_dtype_name, as_tensor, check_dtype, read_header
from attn_cli.inputs.readers.base import parsing
from attn_cli.inputs.readers.opened import OpenFile
from attn_cli.inputs.types import TensorInfo

KIND = "a whole .npy file, as numpy.save writes it"


class NpyFiles:
    """Several ``.npy`` files as one source.

    Args:
        paths: of regular files, by the name that the array in the file takes.

    Raises:
        InputError: where one is no such file.
    """

    def __init__(self, paths: Mapping[str, str]) -> None:
        self.path = ", ".join(dict.fromkeys(paths.values()))
        self.names: Sequence[str] = tuple(paths)
        self.metadata: Mapping[str, str] = {}
        self._files = {name: NpyFile(name, path) for name, path in paths.items()}

    def info(self, name: str) -> TensorInfo:
        """Shape and dtype of one array, out of its header."""
        return self._files[name].info

    def read(self, name: str) -> Tensor:
        """One array; a large one as a view of its mapped file."""
        return self._files[name].read()

    def check_unchanged(self) -> None:
        """Refuse a file that was written to since it was opened."""
        for file in self._files.values():
            file.check_unchanged()

    def close(self) -> None:
        """Nothing to do: a file is closed with the last that needs it, this or a tensor that is mapped."""


class NpyFile:
    """One of them.

    Args:
        name: that the array takes.
        path: of the file.

    Raises:
        InputError: where it is no such file, or its header promises other than it holds.
    """

    def __init__(self, name: str, path: str) -> None:
        self._path, self._file = path, OpenFile(path)
        with parsing(self._file, KIND), self._file.stream() as stream:
            self._shape, self._is_fortran, self._dtype = read_header(stream)
            self._start = stream.tell()
        check_dtype(self._dtype, name, path)
        self._check_size()
        self.info = TensorInfo(name, self._shape, array_dtype_name(self._dtype))

    def read(self) -> Tensor:
        """The array."""
        with parsing(self._file, KIND):
            return as_tensor(self._array())

    def check_unchanged(self) -> None:
        """Refuse a file that was written to since it was opened."""
        self._file.check_unchanged()

    def _array(self) -> Array:
        length = math.prod(self._shape) * self._dtype.itemsize
        if length == 0:
            return np.empty(self._shape, self._dtype)
        flat: np.ndarray[Any, Any] = np.frombuffer(self._file.bytes_at(self._start, length), self._dtype)
        return flat.reshape(self._shape, order="F" if self._is_fortran else "C")

    def _check_size(self) -> None:
        found, promised = self._file.size - self._start, math.prod(self._shape) * self._dtype.itemsize
        if found != promised:
            raise in_file(self._path, f"holds {found} bytes of numbers", f"expected {promised}, as its header says")
