"""PyTorch's ``.pt`` and ``.pth``, loaded with ``weights_only=True``: tensors and plain values, never code."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from attn_cli.attention.types import dtype_name
from attn_cli.errors import in_file
from attn_cli.inputs.limits import (
    BYTES_OF_CHARACTER,
    BYTES_OF_TEXT,
    DEEPEST,
    LARGEST_HEADER,
    LARGEST_TEXTS,
    LONGEST_NAME,
    MIB,
    MOST_NAMES,
    MOST_VISITED,
)
from attn_cli.inputs.readers.arrays import scalar_text
from attn_cli.inputs.readers.base import parsing, settled
from attn_cli.inputs.readers.opened import OpenFile
from attn_cli.inputs.readers.pickle_signs import FARTHEST
from attn_cli.inputs.readers.torch_pickle import load_plain
from attn_cli.inputs.text import shown
from attn_cli.inputs.types import TensorInfo

KIND = "a dict of tensors, as torch.save writes it"


class TorchFile:
    """A loaded ``.pt`` or ``.pth`` file; the tensors of a zip are mapped. Nested names are joined with dots.

    Args:
        file: the same, open.

    Raises:
        InputError: where it holds anything but tensors and plain values, or is no such file.
    """

    def __init__(self, file: OpenFile) -> None:
        label = file.label
        self.path, self._file = label, file
        self._tensors: dict[str, Tensor] = {}
        self._texts: dict[str, str] = {}
        self._visited = 0
        self._room_of_names, self._room_of_texts = LARGEST_HEADER, LARGEST_TEXTS
        with parsing(file, KIND):
            loaded = _named(load_plain(file), label)
            for count, (name, value) in enumerate(self._values(loaded, "")):
                if count >= MOST_NAMES:
                    raise in_file(label, f"holds more than {MOST_NAMES} values", f"expected {KIND}")
                self._note(name, value)

    @property
    def names(self) -> Sequence[str]:
        """The tensors' names."""
        return tuple(self._tensors)

    @property
    def metadata(self) -> Mapping[str, str]:
        """Text, single values and lists of text."""
        return self._texts

    def info(self, name: str) -> TensorInfo:
        """Shape and dtype of one tensor."""
        x = self._tensors[name]
        return TensorInfo(name, tuple(x.shape), dtype_name(x.dtype))

    def read(self, name: str) -> Tensor:
        """One tensor, cut off from autograd."""
        x = self._tensors[name]
        if x.layout != torch.strided or x.is_quantized or x.is_nested or x.device.type != "cpu":
            raise in_file(
                self.path, f"{shown(name)} is a sparse, quantized, nested or meta tensor", "expected a dense one"
            )
        return settled(x.resolve_conj().resolve_neg())

    def check_unchanged(self) -> None:
        """Refuse a file that was written to since it was opened."""
        self._file.check_unchanged()

    def close(self) -> None:
        """Let go of the tensors."""
        self._tensors = {}

    def _note(self, name: str, value: object) -> None:
        if name in self._tensors or name in self._texts:
            raise in_file(self.path, f"two values are called {shown(name)}", "expected each name once")
        if isinstance(value, Tensor):
            value = Tensor.detach(value)  # without attributes that the file may have put in the place of its methods
            if value.layout == torch.strided and value.dim() == 0 and value.device.type == "cpu":
                value = value.item()
        if isinstance(value, Tensor):
            self._tensors[name] = value
        elif isinstance(value, (str, bool, int, float)):
            self._texts[name] = scalar_text(value)
        elif isinstance(value, (list, tuple)):
            self._note_list(name, value)

    def _values(self, value: object, name: str, depth: int = 0) -> Iterator[tuple[str, object]]:
        """Every value under its dotted name, a nested one before what is in it, so that all can be counted."""
        if depth > DEEPEST:
            raise in_file(self.path, f"is nested more than {DEEPEST} deep at {shown(name)}", f"expected {KIND}")
        for key, inner in _entries(value):
            dotted = f"{name}.{key}" if name else str(key)
            self._check_name(dotted)
            yield dotted, inner
            if self._is_nested(inner):
                yield from self._values(inner, dotted, depth + 1)

    def _check_name(self, name: str) -> None:
        """Refuse a name that is too long, alone or with all before it, or that no safetensors file could hold."""
        if len(name) > LONGEST_NAME:
            raise in_file(self.path, f"a name in it has {len(name)} characters", f"expected {LONGEST_NAME} at most")
        self._room_of_names -= len(name)
        if self._room_of_names < 0:
            raise in_file(self.path, f"has more than {LARGEST_HEADER // MIB} MiB of names", "expected less")
        if not name.isascii():
            try:
                name.encode()
            except UnicodeEncodeError as error:
                raise in_file(
                    self.path, f"the name {shown(name)} holds half a character", f"expected {KIND}"
                ) from error

    def _is_nested(self, value: object) -> bool:
        """True for a dict, and for a list that holds tensors or dicts, whose entries are numbered."""
        if isinstance(value, (list, tuple)):
            self._visit(len(value))
            return any(isinstance(item, (Tensor, dict)) for item in value)
        return isinstance(value, dict)

    def _visit(self, items: int) -> None:
        """Count what is looked at: one list may stand in a file any number of times and take no room there."""
        self._visited += items
        if self._visited > MOST_VISITED:
            raise in_file(self.path, f"has lists of more than {MOST_VISITED} items", f"expected {KIND}")

    def _note_list(self, name: str, values: Sequence[Any]) -> None:
        """A list of numbers is a tensor, one of text is metadata; what is neither is left out."""
        self._visit(sum(len(value) for value in values if isinstance(value, (list, tuple))))
        flat = [item for value in values for item in (value if isinstance(value, (list, tuple)) else [value])]
        if flat and all(isinstance(item, str) for item in flat):
            self._room_of_texts -= sum(BYTES_OF_CHARACTER * len(item) + BYTES_OF_TEXT for item in flat)
            if self._room_of_texts < 0:
                raise in_file(
                    self.path, f"holds more than {LARGEST_TEXTS // MIB} MiB of texts in lists", "expected less"
                )
            self._texts[name] = json.dumps(values, ensure_ascii=False)
        elif flat and all(isinstance(item, (bool, int, float)) for item in flat):
            try:
                self._tensors[name] = torch.tensor(values)
            except (ValueError, TypeError, RuntimeError, OverflowError) as error:
                found, expected = "is no table of numbers", "expected rows of one length"
                if any(isinstance(item, int) and not -FARTHEST <= item < FARTHEST for item in flat):
                    found, expected = "holds a whole number beyond int64", "expected smaller ones"
                raise in_file(self.path, f"{shown(name)} {found}", expected) from error


def _named(loaded: object, label: str) -> dict[Any, Any]:
    """The file's own dict."""
    if not isinstance(loaded, dict):
        raise in_file(label, f"holds a {type(loaded).__name__} without names", f"expected {KIND}")
    return loaded


def _entries(value: object) -> Iterator[tuple[str | int, object]]:
    if isinstance(value, dict):  # an ordered one may have an attribute `items` of the file's own
        yield from ((key, inner) for key, inner in dict.items(value) if isinstance(key, (str, int)))
    elif isinstance(value, (list, tuple)):
        yield from enumerate(value)
