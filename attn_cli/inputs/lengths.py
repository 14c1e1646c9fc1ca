"""Valid lengths, from the file or from ``--valid-lens``."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from attn_cli.errors import InputError, in_file
from attn_cli.inputs.readers.base import TensorFile
from attn_cli.inputs.text import describe
from attn_cli.inputs.types import TensorInfo
from attn_cli.inputs.validation import CallSizes

FLAG = "--valid-lens"
MOST_SHOWN = 8


def lengths_from_flag(path: str, given: Sequence[int] | Sequence[Sequence[int]], sizes: CallSizes) -> Tensor:
    """``--valid-lens`` as ``(B,)`` or ``(B, Sq)`` int64.

    Raises:
        InputError: where there are too many or too few, or one is not from 0 to Sk.
    """
    rows = [row for row in given if not isinstance(row, int)]
    counts = {len(row) for row in rows}
    if len(counts) > 1:
        found = f"{FLAG} has rows of {', '.join(str(len(row)) for row in rows)} lengths"
        raise in_file(path, found, f"expected {sizes.queries} in each, one a query")
    flat = [int(length) for row in given for length in ([row] if isinstance(row, int) else row)]
    outside = next((place for place, length in enumerate(flat) if not 0 <= length <= sizes.keys), None)
    shape = (len(rows), *counts) if rows else (len(flat),)
    _check_shape(path, FLAG, shape, sizes)
    if outside is not None:
        raise _broken(path, FLAG, str(flat[outside]), outside, shape, sizes)
    return torch.tensor(flat, dtype=torch.int64).reshape(shape)


def judge_lengths(path: str, info: TensorInfo, sizes: CallSizes) -> None:
    """Refuse a tensor of valid lengths by its shape or dtype.

    Raises:
        InputError: where it is not (B,) or (B, Sq), or can hold no whole numbers.
    """
    if info.dtype == "bool" or info.dtype.startswith("complex"):
        raise in_file(path, describe(info), "expected whole numbers, the keys that each batch item may attend to")
    _check_shape(path, describe(info), info.shape, sizes)


def lengths_from_file(file: TensorFile, info: TensorInfo, sizes: CallSizes) -> Tensor:
    """Valid lengths that :func:`judge_lengths` let pass, as int64; floats are taken where they are whole.

    Raises:
        InputError: where a number is not whole and from 0 to Sk.
    """
    numbers = file.read(info.name).to(torch.float64)  # whole numbers up to 2**53 stay exact
    is_broken = ~((numbers >= 0) & (numbers <= sizes.keys) & (numbers == numbers.round()))
    if bool(is_broken.any()):
        place = int(is_broken.flatten().to(torch.uint8).argmax())
        raise _broken(file.path, describe(info), f"{numbers.flatten()[place].item():g}", place, info.shape, sizes)
    return numbers.to(torch.int64)


def _check_shape(path: str, name: str, shape: tuple[int, ...], sizes: CallSizes) -> None:
    wanted = ((sizes.batch,), (sizes.batch, sizes.queries))
    if shape not in wanted:
        found = name if str(shape) in name else f"{name}: found shape {shape}"
        raise in_file(path, found, f"expected {wanted[0]}, one a batch item, or {wanted[1]}, one a query")


def _broken(path: str, name: str, value: str, place: int, shape: tuple[int, ...], sizes: CallSizes) -> InputError:
    columns = shape[1] if len(shape) == 2 else 1
    where = f"[{place // columns}, {place % columns}]" if len(shape) == 2 else f"[{place}]"
    return in_file(
        path, f"{name}: found {value} at {where}", f"expected whole numbers from 0 to {sizes.keys}, the keys"
    )


def visible_keys(lens: Tensor, keys: int) -> Tensor:
    """The keys that these lengths leave: bool ``(B, 1, Sq or 1, Sk)``."""
    rows = lens[:, None, :, None] if lens.dim() == 2 else lens[:, None, None, None]
    return torch.arange(keys) < rows


def lengths_text(lens: Tensor) -> str:
    """``"3, 2"``; of a row a query, the range."""
    if lens.dim() == 2:
        return f"one a query, {int(lens.min())} to {int(lens.max())}"
    shown = ", ".join(str(length) for length in lens[:MOST_SHOWN].tolist())
    return shown if len(lens) <= MOST_SHOWN else f"{shown} … ({len(lens)} batch items)"
