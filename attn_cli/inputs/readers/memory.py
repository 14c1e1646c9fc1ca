"""Tensors and arrays of this process, offered the way a file offers its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from attn_cli.attention.types import dtype_name
from attn_cli.errors import in_file
from attn_cli.inputs.readers.arrays import as_tensor, check_dtype
from attn_cli.inputs.text import shown
from attn_cli.inputs.types import TensorInfo

KIND = "a torch tensor or a NumPy array"


class MemoryFile:
    """Named tensors that need not be read.

    Args:
        values: tensors on any device, NumPy arrays, or what NumPy makes one of, such as a list of lengths.
        label: how messages name the source.
        metadata: text values by name.

    Raises:
        InputError: where a value is no dense tensor and no array of numbers.
    """

    def __init__(self, values: Mapping[str, object], label: str, metadata: Mapping[str, str] | None = None) -> None:
        self.path = label
        self.names: Sequence[str] = tuple(values)
        self.metadata: Mapping[str, str] = dict(metadata or {})
        self._tensors = {name: _dense(name, value, label) for name, value in values.items()}

    def info(self, name: str) -> TensorInfo:
        """Shape and dtype of one tensor."""
        x = self._tensors[name]
        return TensorInfo(name, tuple(x.shape), dtype_name(x.dtype))

    def read(self, name: str) -> Tensor:
        """One tensor, cut off from autograd, in its own memory and on its own device."""
        return self._tensors[name]

    def check_unchanged(self) -> None:
        """Nothing else can be meant by a value of this process."""

    def close(self) -> None:
        """Let go of the tensors."""
        self._tensors = {}


def _dense(name: str, value: object, label: str) -> Tensor:
    """``value`` as a tensor without a history."""
    if not isinstance(value, Tensor):
        return _from_array(name, value, label)
    if value.is_nested or value.layout != torch.strided or value.is_quantized or value.device.type == "meta":
        found = f"{shown(name)} is a sparse, quantized, nested or meta tensor"
        raise in_file(label, found, "expected a dense one")
    return value.detach()


def _from_array(name: str, value: object, label: str) -> Tensor:
    try:
        array: np.ndarray[Any, np.dtype[Any]] = np.asarray(value)
    except (ValueError, TypeError) as error:
        raise in_file(label, f"{shown(name)} is a {type(value).__name__}", f"expected {KIND}") from error
    check_dtype(array.dtype, name, label)
    # PyTorch neither takes negative strides nor, without a warning, memory that may not be written to.
    is_taken = array.flags.writeable and all(stride >= 0 for stride in array.strides)
    return as_tensor(array if is_taken else array.copy())
