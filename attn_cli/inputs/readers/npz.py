"""NumPy's ``.npz``: a zip of ``.npy`` members, each read when it is asked for. Pickles are never loaded."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Mapping, Sequence
from typing import IO, Any

import numpy as np
from torch import Tensor

from attn_cli.errors import in_file
from attn_cli.inputs.limits import (
    BYTES_OF_TEXT,
    EXPANDED_FREELY,
    LARGEST_ARRAY_HEADERS,
    LARGEST_TEXTS,
    MIB,
    MOST_EXPANSION,
    MOST_MEMBERS,
)
from attn_cli.inputs.readers.arrays import Array, array_dtype_name, as_tensor, as_text, check_dtype, read_header
from attn_cli.inputs.readers.base import parsing
from attn_cli.inputs.readers.opened import OpenFile
from attn_cli.inputs.readers.zip_directory import open_zip
from attn_cli.inputs.text import shown
from attn_cli.inputs.types import TensorInfo

KIND = "a whole .npz file, as numpy.savez writes it"
MEMBER = ".npy"
CHUNK = 2**20  # bytes
METHODS = frozenset([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])


class NpzFile:
    """An open ``.npz`` file. Single values and arrays of text are its metadata.

    Args:
        file: the same, open.

    Raises:
        InputError: where it is no such file.
    """

    def __init__(self, file: OpenFile) -> None:
        self.path, self._file = file.label, file
        self._infos: dict[str, TensorInfo] = {}
        self._texts: dict[str, str] = {}
        self._room, self._room_of_headers = LARGEST_TEXTS, LARGEST_ARRAY_HEADERS
        with parsing(file, KIND):
            self._zip = open_zip(file, METHODS, f"expected {KIND}", MOST_MEMBERS)
            self._check_expansion()
            for member in self._zip.namelist():
                if member.endswith(MEMBER):
                    self._note(member.removesuffix(MEMBER))

    @property
    def names(self) -> Sequence[str]:
        """The arrays' names."""
        return tuple(self._infos)

    @property
    def metadata(self) -> Mapping[str, str]:
        """Single values and texts."""
        return self._texts

    def info(self, name: str) -> TensorInfo:
        """Shape and dtype of one array, out of its header."""
        return self._infos[name]

    def read(self, name: str) -> Tensor:
        """One array, read whole."""
        with parsing(self._file, KIND), self._zip.open(name + MEMBER) as stream:
            return as_tensor(self._array(name, stream, *read_header(stream)))  # type: ignore[arg-type]

    def check_unchanged(self) -> None:
        """Refuse a file that was written to since it was opened."""
        self._file.check_unchanged()

    def close(self) -> None:
        """Close the file."""
        self._zip.close()

    def _check_expansion(self) -> None:
        """Refuse a bomb by what the directory says, before anything is expanded."""
        expanded = 0
        for member in self._zip.infolist():
            if member.filename.endswith(MEMBER) and member.file_size > MOST_EXPANSION * member.compress_size:
                expanded += member.file_size
                if expanded > EXPANDED_FREELY:
                    name = shown(member.filename.removesuffix(MEMBER))
                    found = f"{name} expands from {member.compress_size} bytes to {member.file_size}"
                    most = f"{EXPANDED_FREELY // MIB} MiB of such arrays"
                    hint = "numpy.savez writes arrays of few different numbers, such as masks, uncompressed"
                    raise in_file(self.path, found, f"expected at most {MOST_EXPANSION} times as many, or {most}", hint)

    def _note(self, name: str) -> None:
        """Keep what the head of a member says, or its value where it is metadata."""
        with self._zip.open(name + MEMBER) as stream:
            shape, is_fortran, dtype = read_header(stream)  # type: ignore[arg-type]
            self._room_of_headers -= stream.tell()
            if self._room_of_headers < 0:
                raise in_file(
                    self.path, f"has more than {LARGEST_ARRAY_HEADERS // MIB} MiB of headers", "expected less"
                )
            if (shape == () and dtype.kind in "biufcU") or dtype.kind == "U":
                self._take_room(shape, dtype)
                text = as_text(self._array(name, stream, shape, is_fortran, dtype))
                if text is not None:
                    self._texts[name] = text
                    return
        self._infos[name] = TensorInfo(name, shape, array_dtype_name(dtype))

    def _take_room(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self._room -= math.prod(shape) * (dtype.itemsize + BYTES_OF_TEXT)
        if self._room < 0:
            raise in_file(self.path, f"holds more than {LARGEST_TEXTS // MIB} MiB of texts", "expected less")

    def _array(
        self, name: str, stream: IO[bytes], shape: tuple[int, ...], is_fortran: bool, dtype: np.dtype[Any]
    ) -> Array:
        """The numbers behind the head of a member.

        Their memory is what the header names, so a header that promises other than the member holds is refused, and a
        dtype that torch lacks.
        """
        if dtype.kind != "U":
            check_dtype(dtype, name, self.path)
        member = self._zip.getinfo(name + MEMBER)
        found, promised = member.file_size - stream.tell(), math.prod(shape) * dtype.itemsize
        if found != promised:
            raise in_file(self.path, f"{shown(name)} holds {found} bytes", f"expected {promised}, as its header says")
        flat = np.empty(math.prod(shape), dtype)
        _fill(flat, stream)
        return flat.reshape(shape, order="F" if is_fortran else "C")


def _fill(array: Array, stream: IO[bytes]) -> None:
    """Read an array's bytes to the end of a member, whose sum is checked there.

    Raises:
        EOFError: where there are fewer.
    """
    done, into = 0, array.view(np.uint8).data if array.nbytes else memoryview(b"")
    while chunk := stream.read(CHUNK):
        into[done : done + len(chunk)] = chunk
        done += len(chunk)
    if done < len(into):
        raise EOFError(f"it ends after {done} of {len(into)} bytes")
