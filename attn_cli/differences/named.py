"""Every tensor that two files both have, compared by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import nan

import torch
from torch import Tensor

from attn_cli.attention.types import dtype_name
from attn_cli.differences.axes import WHOLE, Axes, Part, axes_of, known_role, saved_parts
from attn_cli.differences.heads import Numbers, compare_heads
from attn_cli.differences.maps import MapSize
from attn_cli.differences.sources import Stored
from attn_cli.differences.tolerance import tolerance_of
from attn_cli.differences.types import Compared, Measured, TensorDifference, Tolerance
from attn_cli.errors import in_file
from attn_cli.inputs.names import OUTPUT, WEIGHTS, split_name
from attn_cli.inputs.options import ReadOptions
from attn_cli.inputs.readers.base import TensorFile
from attn_cli.inputs.settings import Metadata, read_settings
from attn_cli.inputs.text import describe, few
from attn_cli.inputs.types import TensorInfo

HEADED = ("batch", "head", "query", "key", "feature")
KEPT = (OUTPUT, WEIGHTS)
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class NamedTensors:
    """Compares the tensors of two files by name.

    Attributes:
        left, right: the open files.
        options: how they are read: layout and heads name the axes, selections pick from axes that are known.
        atol, rtol: as asked for; None is that of the dtype.
        size: of the pictures; None makes none.
    """

    left: TensorFile
    right: TensorFile
    options: ReadOptions
    atol: float | None
    rtol: float | None
    size: MapSize | None

    def compare(self, names: Sequence[str], progress: Progress | None = None) -> tuple[TensorDifference, ...]:
        """Compare these tensors, which both files have."""
        parts = saved_parts(self.left.metadata)
        found = []
        for number, name in enumerate(names):
            found.append(self._one(name, parts.get(split_name(name)[0], WHOLE)))
            if progress is not None:
                progress(number + 1, len(names))
        return tuple(found)

    def _one(self, name: str, part: Part) -> TensorDifference:
        left, right, role = self.left.info(name), self.right.info(name), known_role(name)
        settings = read_settings(self.options, Metadata(self.left.path, split_name(name)[0], self.left.metadata))
        axes = axes_of(role, left.shape, settings)
        found = TensorDifference(left, right, role, axes)
        if left.shape != right.shape:
            return found
        picks = self._picks(left, axes, role, part)
        pair = [_picked(file.read(name), picks) for file in (self.left, self.right)]
        return _compared(found, pair, picks, self)

    def _picks(self, info: TensorInfo, axes: Axes, role: str | None, part: Part) -> list[_Pick]:
        """What is looked at on each axis.

        Raises:
            InputError: where a selection names what a tensor does not hold.
        """
        wanted = {"batch": self.options.batch, "head": self.options.heads, "query": self.options.queries}
        if role in ("k", "v"):
            wanted["head"] = None  # these are key/value heads
        picks = []
        for axis, size in zip(axes, info.shape, strict=True):
            numbers = part.numbers(axis, size)
            chosen = wanted.get(axis or "")
            place_of = {number: place for place, number in enumerate(numbers)}
            lacking = [number for number in chosen or () if number not in place_of]
            if lacking:
                found = f"{describe(info)}: no {axis} {lacking[0]}"
                raise in_file(self.left.path, found, f"expected one of {few(map(str, numbers))}")
            places = range(size) if chosen is None else [place_of[number] for number in chosen]
            picks.append(_Pick(tuple(places), tuple(numbers[place] for place in places), chosen is None))
        return picks


@dataclass(frozen=True)
class _Pick:
    """The entries of an axis that are looked at: their places in the tensor, and their numbers in the whole call."""

    places: tuple[int, ...]
    numbers: tuple[int, ...]
    is_whole: bool


def _picked(x: Tensor, picks: Sequence[_Pick]) -> Tensor:
    for axis, pick in enumerate(picks):
        if not pick.is_whole:
            x = x.index_select(axis, torch.tensor(pick.places))
    return x


def _compared(
    found: TensorDifference, pair: Sequence[Tensor], picks: Sequence[_Pick], how: NamedTensors
) -> TensorDifference:
    """The two tensors as heads, as far as their axes are known."""
    left, right = (_real(x) for x in pair)
    tolerance = tolerance_of(left.dtype, right.dtype, how.atol, how.rtol)
    found = replace(found, tolerance=tolerance)
    if left.numel() == 0:
        return replace(found, measured=NOTHING_DIFFERS)
    order = _as_heads(found.axes)
    if order is None or left.dim() != len(found.axes):
        return _as_rows(found, left, right, tolerance, picks)
    numbers = _numbers(order, picks)
    sources = [Stored(_four_axes(x, order)) for x in (left, right)]
    quantity = found.role if found.role in KEPT and found.role is not None else "values"
    size = how.size if found.role in KEPT else None
    compared = compare_heads(sources[0], sources[1], quantity, tolerance, numbers, size)
    found = replace(found, measured=compared.total, compared=compared if found.role in KEPT else None)
    return _placed(found, compared, picks)


NOTHING_DIFFERS = Measured(nan, nan, nan, nan, 0.0, 0, 0, 0, 0, None, None)  # of tensors without any value


def _real(x: Tensor) -> Tensor:
    """Complex numbers as pairs of real ones; what PyTorch cannot convert as its bytes."""
    if x.is_complex():
        return torch.view_as_real(x)
    if dtype_name(x.dtype).startswith("float4"):
        return x.view(torch.uint8)
    return x


def _as_heads(axes: Axes) -> tuple[int | None, int | None, int, int] | None:
    """Where batch, head, rows and columns are among the axes; None where there are no such rows and columns."""
    if None in axes or len(axes) < 2 or not set(axes) <= set(HEADED):
        return None
    where = {name: place for place, name in enumerate(axes)}
    of_rows = [name for name in axes if name not in ("batch", "head")]
    if len(of_rows) != 2:
        return None
    rows, columns = sorted(of_rows, key=lambda name: HEADED.index(name or ""))
    return where.get("batch"), where.get("head"), where[rows], where[columns]


def _four_axes(x: Tensor, order: tuple[int | None, int | None, int, int]) -> Tensor:
    """A view ``(batch, head, rows, columns)``; a missing axis has size 1."""
    x = x.permute([axis for axis in order if axis is not None])
    for place, axis in enumerate(order[:2]):
        x = x.unsqueeze(place) if axis is None else x
    return x


def _numbers(order: tuple[int | None, int | None, int, int], picks: Sequence[_Pick]) -> Numbers:
    batch, head = ((0,) if axis is None else picks[axis].numbers for axis in order[:2])
    return Numbers(batch, head, torch.tensor(picks[order[2]].numbers))


def _placed(found: TensorDifference, compared: Compared, picks: Sequence[_Pick]) -> TensorDifference:
    """The place of the worst value, by axis and as an index into the file's tensor."""
    head = compared.worst_head
    worst = head.measured.worst
    if worst is None:
        return found
    rows, columns = (name for name in HEADED[2:] if name in found.axes)
    by_axis = {"batch": head.batch, "head": head.head, rows: worst.row, columns: worst.column}
    place = tuple((name, by_axis[name]) for name in found.axes if name is not None)
    index = [pick.places[pick.numbers.index(number)] for pick, (_, number) in zip(picks, place, strict=True)]
    return replace(found, worst_place=place, worst_index=tuple(index))


def _as_rows(
    found: TensorDifference, left: Tensor, right: Tensor, tolerance: Tolerance, picks: Sequence[_Pick]
) -> TensorDifference:
    """A tensor of any rank as one table: its last axis is the columns."""
    shape = tuple(left.shape) or (1,)
    one, other = (Stored(x.reshape(1, 1, -1, shape[-1])) for x in (left, right))
    compared = compare_heads(one, other, "values", tolerance, Numbers.plain(1, 1, one.shape[2]))
    worst = compared.total.worst
    found = replace(found, measured=replace(compared.total, first_row=None))
    if worst is None:
        return found
    places = torch.unravel_index(torch.tensor(worst.row * shape[-1] + worst.column), shape)
    at = [int(place) for place in places][: len(picks)]  # complex numbers have an axis more
    named = zip(found.axes, at, picks, strict=False)
    return replace(
        found,
        worst_index=tuple(pick.places[place] for place, pick in zip(at, picks, strict=False)),
        worst_place=tuple((name, pick.numbers[place]) for name, place, pick in named if name is not None),
    )
