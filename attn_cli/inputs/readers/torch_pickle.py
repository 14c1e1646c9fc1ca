"""PyTorch's files, zips and those of old, looked at and then loaded with ``weights_only=True``."""

from __future__ import annotations

import io
import pickle
import re
import sys
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch

from attn_cli.errors import InputError, in_file
from attn_cli.inputs.limits import LARGEST_HEADER, MIB, MOST_NAMES
from attn_cli.inputs.readers.opened import OpenFile
from attn_cli.inputs.readers.pickle_program import PickleProgram
from attn_cli.inputs.readers.pickle_signs import RefusedError, Storage
from attn_cli.inputs.readers.zip_directory import LOCAL_SIZE, open_zip
from attn_cli.inputs.signatures import LENGTH, PICKLE, ZIP, signature
from attn_cli.inputs.text import shown

KIND = "expected a dict of tensors, as torch.save writes it"
HINT = "save tensors alone: torch.save({'q': q, 'k': k, 'v': v}, 'file.pt')"
METHODS = frozenset([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
PICKLES = 5  # at the beginning of a file of old: its kind, its version, its machine, the object, its storages
DIGITS = re.compile(r"[0-9]+\n?")
WRONG_SIZE = "storage has wrong byte size"
TAR_MAGIC, TAR_PLACE = b"ustar", 257


def load_plain(file: OpenFile) -> object:
    """What a PyTorch file of tensors and plain values holds.

    Args:
        file: the same, open.

    Raises:
        InputError: where there is anything else in it, or it would read what it does not hold.
    """
    with file.stream() as stream:
        head = stream.read(TAR_PLACE + len(TAR_MAGIC))
    kind = signature(head[:LENGTH])
    if kind == ZIP:
        return _load_zip(file)
    if kind == PICKLE:
        return _load_old(file)
    what = "is a tar, as PyTorch 0.1 wrote it" if head[TAR_PLACE:] == TAR_MAGIC else "is no PyTorch file"
    raise in_file(file.label, what if head else "is empty", KIND, HINT)


def _load_old(file: OpenFile) -> object:
    """A file of before PyTorch 1.6: pickles behind one another, then the storages."""
    with file.stream() as stream:
        begin = io.BytesIO(stream.read(LARGEST_HEADER))
    program = PickleProgram()
    with _refusals(file.label):
        for _ in range(PICKLES):
            program.follow(begin)
    needed = sum(storage.size for storage in program.storages.values())
    if needed > file.size - begin.tell():
        found = f"has tensors of {needed} bytes, and {file.size - begin.tell()} bytes behind their description"
        raise in_file(file.label, found, KIND)
    return _load(file, None)


def _load_zip(file: OpenFile) -> object:
    with open_zip(file, METHODS, KIND, MOST_NAMES, is_torch=True) as archive:
        return _Archive(file, archive).load()


@dataclass(frozen=True)
class _Archive:
    file: OpenFile
    archive: zipfile.ZipFile

    def load(self) -> object:
        places = iter([(self._begin(storage), storage.size) for storage in self._storages()])
        return _load(self.file, _Placement(self.file, places))

    @property
    def folder(self) -> str:
        """What stands before the members' names, in the first of them as PyTorch takes it."""
        return self.archive.infolist()[0].filename.partition("/")[0]

    def _member(self, name: str) -> zipfile.ZipInfo | None:
        """The member that PyTorch reads by this name: it ignores case, and none differs from another by that alone."""
        return self._members.get(f"{self.folder}/{name}".casefold())

    @cached_property
    def _members(self) -> dict[str, zipfile.ZipInfo]:
        return {member.filename.casefold(): member for member in self.archive.infolist()}

    def _storages(self) -> list[Storage]:
        """Those that the pickle asks for; each is there and as long as the pickle says."""
        label = self.file.label
        description = self._member("data.pkl") if self.archive.infolist() else None
        if description is None:
            raise in_file(label, "is a zip without data.pkl", KIND, HINT)
        if self._member("constants.pkl") is not None:
            raise in_file(label, "is a TorchScript archive, which holds code", KIND, HINT)
        self._check_stored(description)
        if description.file_size > LARGEST_HEADER:
            limit = f"expected at most {LARGEST_HEADER // MIB} MiB"
            raise in_file(label, f"its description of the tensors is {description.file_size} bytes long", limit)
        content = self.archive.read(description)
        program = PickleProgram()
        with _refusals(label):
            program.follow(io.BytesIO(content))
        for storage in program.storages.values():
            self._check_storage(storage)
        self._check_settings()
        if torch._C.PyTorchFileReader(self.file.own_path).get_record("data.pkl") != content:
            raise in_file(label, "holds another data.pkl for PyTorch than for other readers of zips", KIND, HINT)
        return list(program.storages.values())

    def _check_storage(self, storage: Storage) -> None:
        member = self._member(f"data/{storage.key}")
        there = None if member is None else member.file_size
        if there != storage.size:
            found = "is not there" if there is None else f"has {there} bytes"
            expected = f"expected {storage.size}, as the description of the tensors says"
            raise in_file(self.file.label, f"the storage {shown(storage.key)} {found}", expected)
        if member is not None:
            self._check_stored(member)

    def _check_stored(self, member: zipfile.ZipInfo) -> None:
        """Refuse a compressed member: mapped, PyTorch takes its bytes for numbers; unpacked, it may be of any size."""
        if member.compress_type != zipfile.ZIP_STORED:
            raise in_file(self.file.label, f"{shown(member.filename)} is compressed", KIND)

    def _begin(self, storage: Storage) -> int:
        """Where in the file the storage's bytes begin: behind a head of its own, with a name and what is extra."""
        member = self._member(f"data/{storage.key}")
        assert member is not None  # it was checked
        with self.file.stream() as stream:
            stream.seek(member.header_offset)
            head = stream.read(LOCAL_SIZE)
        return member.header_offset + LOCAL_SIZE + sum(int.from_bytes(head[at : at + 2], "little") for at in (26, 28))

    def _check_settings(self) -> None:
        """Refuse numbers in another byte order, and what PyTorch would stumble over."""
        order = self._small("byteorder", sys.byteorder)
        if order not in ("little", "big"):
            raise in_file(self.file.label, "its byteorder is neither little nor big", f"expected {sys.byteorder}")
        if order != sys.byteorder:
            found = "was written on a machine of another byte order"
            raise in_file(self.file.label, found, f"expected {sys.byteorder}")
        for name in (".storage_alignment", "version"):
            if not DIGITS.fullmatch(self._small(name, "1")):
                raise in_file(self.file.label, f"its {name} is no whole number", KIND)

    def _small(self, name: str, default: str) -> str:
        """What a member of few bytes says; nothing where it has many."""
        member = self._member(name)
        if member is None:
            return default
        return "" if member.file_size > LENGTH else self.archive.read(member).decode("latin-1")


@contextmanager
def _refusals(label: str) -> Iterator[None]:
    """Turn what the program must not do into an :class:`InputError`."""
    try:
        yield
    except RefusedError as error:
        raise _no_plain_pickle(label, str(error)) from error


def _no_plain_pickle(label: str, what: str) -> InputError:
    return in_file(label, f"is no pickle of plain tensors: it {what}, and nothing of it was run", KIND, HINT)


def _load(file: OpenFile, place: Callable[[Any, str], Any] | None) -> object:
    """The file's object, by PyTorch itself.

    Args:
        file: to load.
        place: gives each storage, in order, its memory; None leaves that to PyTorch.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about formats of old; what cannot be read raises
            return torch.load(file.own_path, map_location=place or "cpu", weights_only=True, mmap=place is not None)
    except pickle.UnpicklingError as error:
        raise _no_plain_pickle(file.label, "names what PyTorch does not load") from error
    except RuntimeError as error:
        if WRONG_SIZE in str(error):  # with PyTorch's template behind it, not filled in
            found = "a storage of its tensors is not as long as their description says"
            raise in_file(file.label, found, KIND) from error
        raise


@dataclass
class _Placement:
    """Gives storages the bytes that are theirs, copied or mapped, as PyTorch asks for them one after the other."""

    file: OpenFile
    places: Iterator[tuple[int, int]]

    def __call__(self, storage: Any, location: str) -> Any:
        begin, size = next(self.places)
        if size == 0:
            return storage
        return torch.frombuffer(self.file.bytes_at(begin, size), dtype=torch.uint8).untyped_storage()
