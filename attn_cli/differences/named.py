"""Every tensor that two files both have, compared by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import nan, prod

import torch
from torch import Tensor

from attn_cli.attention.types import dtype_name
from attn_cli.differences.axes import SINK_WEIGHTS, WHOLE, Axes, Part, axes_of, known_parts, known_role
from attn_cli.differences.heads import COMPARED_AT_ONCE, Numbers, compare_heads
from attn_cli.differences.maps import MapSize
from attn_cli.differences.measure import Tally
from attn_cli.differences.sources import Stored, as_numbers, is_whole
from attn_cli.differences.tolerance import coarser, tolerance_of
from attn_cli.differences.types import Compared, Measured, TensorDifference, Tolerance
from attn_cli.errors import in_file
from attn_cli.inputs.metadata import Texts
from attn_cli.inputs.names import OUTPUT, SINKS, WEIGHTS, split_name, with_parents
from attn_cli.inputs.options import ReadOptions
from attn_cli.inputs.readers.base import TensorFile
from attn_cli.inputs.selecting import MOST_IN_ALL
from attn_cli.inputs.settings import Settings, read_settings
from attn_cli.inputs.text import describe, few
from attn_cli.inputs.types import TensorInfo

HEADED = ("batch", "head", "query", "key", "feature")
KEPT = (OUTPUT, WEIGHTS)
KEY_VALUES = ("k", "v")
Pair = tuple[str, str]
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

    def compare(self, names: Sequence[Pair], progress: Progress | None = None) -> tuple[TensorDifference, ...]:
        """Compare these tensors: the name of each in the left file and in the right.

        Raises:
            InputError: where a selection names what a tensor does not hold, or what none of them has.
        """
        parts, found, known = known_parts(self.left.metadata), [], {}
        for number, (name, other) in enumerate(names):
            prefix = split_name(name)[0]
            if prefix not in known:
                known[prefix] = self.settings(self.left, prefix)
            found.append(self._one(name, other, known[prefix], parts.get(prefix, WHOLE)))
            if progress is not None:
                progress(number + 1, len(names))
        return tuple(found)

    def alike(self, name: str, other: str) -> bool:
        """Whether two tensors have the same axes and sizes."""
        sides = []
        for file, own in ((self.left, name), (self.right, other)):
            shape = file.info(own).shape
            sides.append((shape, axes_of(known_role(own), shape, self.settings(file, split_name(own)[0]))))
        return sides[0] == sides[1]

    def can_select(self, name: str, axis: str) -> bool:
        """Whether a tensor of the left file has an axis that a selection applies to."""
        role = known_role(name)
        axes = axes_of(role, self.left.info(name).shape, self.settings(self.left, split_name(name)[0]))
        return axis in axes and not (axis == "head" and role in KEY_VALUES)

    def settings(self, file: TensorFile, prefix: str) -> Settings:
        """What flags and metadata say of the tensors behind a prefix."""
        left, right = self._texts
        return read_settings(self.options, (left if file is self.left else right).of(prefix))

    @cached_property
    def _texts(self) -> tuple[Texts, Texts]:
        left, right = (Texts(file.path, file.metadata) for file in self._files)
        return left, right

    def _one(self, name: str, other: str, settings: Settings, part: Part) -> TensorDifference:
        left, right, role = self.left.info(name), self.right.info(other), known_role(name)
        axes = axes_of(role, left.shape, settings)
        found = TensorDifference(left, right, role, axes)
        if left.shape != right.shape:
            return found
        picks = self._picks(left, axes, role, part)
        pair = _picked(self.left.read(name), picks), _picked(self.right.read(other), picks)
        return _compared(found, pair, picks, self, role == WEIGHTS and self._has_sinks(name, other))

    def _has_sinks(self, *names: str) -> bool:
        """Whether a file tells of sinks beside one of these, or in what it stands in."""
        sides = zip(self._sinks, names, strict=True)
        return any(above in sinks for sinks, name in sides for above in with_parents(split_name(name)[0]))

    @cached_property
    def _sinks(self) -> tuple[frozenset[str], ...]:
        """The prefixes of both files behind which sinks stand."""
        sinks = [[name for name in file.names if known_role(name) in (SINKS, SINK_WEIGHTS)] for file in self._files]
        return tuple(frozenset(split_name(name)[0] for name in names) for names in sinks)

    @property
    def _files(self) -> tuple[TensorFile, TensorFile]:
        return self.left, self.right

    def _picks(self, info: TensorInfo, axes: Axes, role: str | None, part: Part) -> list[_Pick]:
        """What is looked at on each axis.

        Raises:
            InputError: where a selection names what a tensor does not hold.
        """
        picks = []
        for axis, size in zip(axes, info.shape, strict=True):
            is_shared = axis == "head" and role in KEY_VALUES
            numbers = range(size) if is_shared else part.numbers(axis, size)
            chosen = selected(self.options, axis, role)
            if chosen is None:
                picks.append(_Pick(range(size), numbers, True))
                continue
            place_of = {number: place for place, number in enumerate(numbers)}
            lacking = [number for number in chosen if number not in place_of]
            if lacking:
                found = f"{describe(info)}: no {axis} {lacking[0]}"
                raise in_file(self.left.path, found, f"expected one of {_said(numbers)}")
            picks.append(_Pick([place_of[number] for number in chosen], chosen, False))
        return picks


def selected(options: ReadOptions, axis: str | None, role: str | None) -> tuple[int, ...] | None:
    """The numbers that are asked for on an axis; None is all. The heads of k and v are key/value heads."""
    if axis == "batch":
        return options.batch
    if axis == "head":
        return None if role in KEY_VALUES else options.heads
    return options.queries if axis == "query" else None


def _said(numbers: Sequence[int]) -> str:
    """``0-7``, or what there is of other numbers."""
    if isinstance(numbers, range):
        return f"{numbers[0]}-{numbers[-1]}" if len(numbers) > 1 else "0"
    return few(map(str, numbers))


@dataclass(frozen=True)
class _Pick:
    """The entries of an axis that are looked at: their places in the tensor, and their numbers in the whole call."""

    places: Sequence[int]
    numbers: Sequence[int]
    is_whole: bool


def _picked(x: Tensor, picks: Sequence[_Pick]) -> Tensor:
    for axis, pick in enumerate(picks):
        if not pick.is_whole:
            x = x.index_select(axis, torch.tensor(pick.places))
    return x


def _compared(
    found: TensorDifference, pair: Sequence[Tensor], picks: Sequence[_Pick], how: NamedTensors, has_sink: bool
) -> TensorDifference:
    """The two tensors as heads, as far as their axes are known."""
    left, right = _reals(pair)
    tolerance = tolerance_of(left.dtype, right.dtype, how.atol, how.rtol)
    found = replace(found, tolerance=tolerance)
    if left.numel() == 0:
        return replace(found, measured=NOTHING_DIFFERS)
    order = _as_heads(found.axes)
    if order is None or left.dim() != len(found.axes) or _number_of_heads(left, order) > MOST_IN_ALL:
        return _as_rows(found, left, right, tolerance, picks)
    numbers = _numbers(order, picks)
    sources = [Stored(_four_axes(x, order)) for x in (left, right)]
    quantity = found.role if found.role in KEPT and found.role is not None else "values"
    size = how.size if found.role in KEPT else None
    compared = compare_heads(sources[0], sources[1], quantity, tolerance, numbers, size, has_sink=has_sink)
    found = replace(found, measured=compared.total, compared=compared if found.role in KEPT else None)
    return _placed(found, compared, picks)


NOTHING_DIFFERS = Measured(nan, nan, nan, nan, 0.0, 0, 0, 0, 0, None, None)  # of tensors without any value


def _reals(pair: Sequence[Tensor]) -> list[Tensor]:
    """What PyTorch cannot convert as its bytes, and complex numbers as pairs of real ones, with all beside them."""
    plain = [x.view(torch.uint8) if dtype_name(x.dtype).startswith("float4") else x for x in pair]
    if not any(x.is_complex() for x in plain):
        return plain
    return [torch.view_as_real(x if x.is_complex() else x.to(_complex_dtype(x.dtype))) for x in plain]


def _complex_dtype(dtype: torch.dtype) -> torch.dtype:
    return torch.complex64 if dtype.is_floating_point and dtype.itemsize <= 4 else torch.complex128


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


def _number_of_heads(x: Tensor, order: tuple[int | None, int | None, int, int]) -> int:
    """Of all batch items together."""
    return prod(x.shape[axis] for axis in order[:2] if axis is not None)


def _four_axes(x: Tensor, order: tuple[int | None, int | None, int, int]) -> Tensor:
    """A view ``(batch, head, rows, columns)``; a missing axis has size 1."""
    x = x.permute([axis for axis in order if axis is not None])
    for place, axis in enumerate(order[:2]):
        x = x.unsqueeze(place) if axis is None else x
    return x


def _numbers(order: tuple[int | None, int | None, int, int], picks: Sequence[_Pick]) -> Numbers:
    batch, head = (range(1) if axis is None else picks[axis].numbers for axis in order[:2])
    rows = picks[order[2]].numbers
    return Numbers(batch, head, torch.arange(len(rows)) if isinstance(rows, range) else torch.tensor(rows))


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
    """A tensor of any rank as one run of values, of which a piece at a time is converted."""
    shape, one, other = tuple(left.shape), left.reshape(-1), right.reshape(-1)
    cpu = torch.device("cpu")
    tally = Tally(1, 1, tolerance, coarser(one.dtype, other.dtype), cpu)
    for first in range(0, len(one), COMPARED_AT_ONCE):
        piece = slice(first, first + COMPARED_AT_ONCE)
        tally.add(slice(0, 1), first, *as_numbers(one[None, piece, None], other[None, piece, None], cpu, torch.float64))
    measured = replace(tally.result()[1], first_row=None)
    worst = measured.worst
    if worst is None:
        return replace(found, measured=measured)
    if is_whole(one.dtype) and is_whole(other.dtype):
        worst = replace(worst, left=int(one[worst.row].item()), right=int(other[worst.row].item()))
    found = replace(found, measured=replace(measured, worst=worst))
    at = _places(worst.row, shape)[: len(picks)]  # complex numbers have an axis more
    named = zip(found.axes, at, picks, strict=False)
    return replace(
        found,
        worst_index=tuple(pick.places[place] for place, pick in zip(at, picks, strict=False)),
        worst_place=tuple((name, pick.numbers[place]) for name, place, pick in named if name is not None),
    )


def _places(place: int, shape: Sequence[int]) -> list[int]:
    """One number an axis, of a place among all values in order."""
    found = []
    for size in reversed(shape):
        place, at = divmod(place, size)
        found.append(at)
    return found[::-1]
