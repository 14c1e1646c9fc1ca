"""NumPy's ``.npz``: a zip of ``.npy`` members, each read when it is asked for. Pickles are never loaded."""

from __future__ import annotations

import math
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.lib import format as npy
from torch import Tensor

from attn_cli.errors import in_file
from attn_cli.inputs.limits import BYTES_OF_TEXT, EXPANDED_FREELY, LARGEST_TEXTS, MIB, MOST_EXPANSION, MOST_MEMBERS
from attn_cli.inputs.readers.arrays import array_dtype_name, as_tensor, as_text, check_dtype, read_header
from attn_cli.inputs.readers.base import parsing
from attn_cli.inputs.readers.opened import OpenFile
from attn_cli.inputs.readers.zip_directory import open_zip
from attn_cli.inputs.text import shown
from attn_cli.inputs.types import TensorInfo

KIND = "a whole .npz file, as numpy.savez writes it"
MEMBER = ".npy"
METHODS = frozenset([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])


class NpzFile:
    """An open ``.npz`` file. Single values and arrays of text are its metadata.

    Args:
        path: of the file.
        label: how messages name it.

    Raises:
        InputError: where it is no such file.
    """

    def __init__(self, path: str, label: str) -> None:
        self.path = label
        self._infos: dict[str, TensorInfo] = {}
        self._texts: dict[str, str] = {}
        self._room = LARGEST_TEXTS
        self._expanded: dict[str, int] = {}  # bytes of each array that is small in the file beyond measure
        with parsing(label, KIND):
            self._file = OpenFile(path, label)
            self._zip = open_zip(path, label, METHODS, f"expected {KIND}", MOST_MEMBERS)
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
        with parsing(self.path, KIND):
            self._check(name)
            return as_tensor(self._load(name))

    def check_unchanged(self) -> None:
        """Refuse a file that was written to since it was opened."""
        self._file.check_unchanged()

    def close(self) -> None:
        """Close the file."""
        self._zip.close()

    def _note(self, name: str) -> None:
        """Keep what the head of a member says, or its value where it is metadata."""
        with self._zip.open(name + MEMBER) as file:
            shape, _, dtype = read_header(file)  # type: ignore[arg-type]
        if (shape == () and dtype.kind in "biufcU") or dtype.kind == "U":
            text = self._text(name, shape, dtype)
            if text is not None:
                self._texts[name] = text
                return
        self._infos[name] = TensorInfo(name, shape, array_dtype_name(dtype))

    def _text(self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> str | None:
        self._room -= math.prod(shape) * (dtype.itemsize + BYTES_OF_TEXT)
        if self._room < 0:
            raise in_file(self.path, f"holds more than {LARGEST_TEXTS // MIB} MiB of texts", "expected less")
        self._check(name)
        return as_text(self._load(name))

    def _check(self, name: str) -> None:
        """Refuse a dtype that torch lacks, a header that promises other than the member holds, and a bomb.

        NumPy asks for the memory that the header names before it reads, so the header must not be believed.
        """
        with self._zip.open(name + MEMBER) as file:
            shape, _, dtype = read_header(file)  # type: ignore[arg-type]
            start = file.tell()
        if dtype.kind != "U":
            check_dtype(dtype, name, self.path)
        member = self._zip.getinfo(name + MEMBER)
        found, promised = member.file_size - start, math.prod(shape) * dtype.itemsize
        if found != promised:
            raise in_file(self.path, f"{shown(name)} holds {found} bytes", f"expected {promised}, as its header says")
        if found > MOST_EXPANSION * member.compress_size:
            self._expand(name, member.compress_size, found)

    def _expand(self, name: str, packed: int, size: int) -> None:
        self._expanded[name] = size
        if sum(self._expanded.values()) > EXPANDED_FREELY:
            hint = "numpy.savez writes arrays of few different numbers, such as masks, uncompressed"
            found = f"{shown(name)} expands from {packed} bytes to {size}"
            limit = f"expected at most {MOST_EXPANSION} times as many, or {EXPANDED_FREELY // MIB} MiB of such arrays"
            raise in_file(self.path, found, limit, hint)

    def _load(self, name: str) -> np.ndarray[Any, np.dtype[Any]]:
        with self._zip.open(name + MEMBER) as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about headers of Python 2
            return npy.read_array(file, allow_pickle=False)
