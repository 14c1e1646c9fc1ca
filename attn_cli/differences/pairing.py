"""Which tensors of two files are compared with each other, and which are in one file alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from attn_cli.differences.axes import MASKS
from attn_cli.differences.calls import Matched
from attn_cli.differences.counterparts import counterparts
from attn_cli.differences.named import NamedTensors
from attn_cli.differences.types import TensorDifference
from attn_cli.errors import InputError
from attn_cli.inputs.names import is_meant as means_call
from attn_cli.inputs.names import layer_of, split_name, step_of
from attn_cli.inputs.options import ReadOptions
from attn_cli.inputs.text import few, shown
from attn_cli.inputs.types import TensorInfo

AXES = (("--batch", "batch"), ("--head", "head"), ("--query", "query"))


@dataclass(frozen=True)
class Pairing:
    """The tensors of two files.

    Attributes:
        pairs: names in the left and in the right file.
        only_left, only_right: tensors of one file alone.
    """

    pairs: tuple[tuple[str, str], ...]
    only_left: tuple[TensorInfo, ...]
    only_right: tuple[TensorInfo, ...]


def pair_tensors(named: NamedTensors, matched: Matched) -> Pairing:
    """Tensors of one name belong together; of the others those that matched calls take for the same.

    Raises:
        InputError: where nothing at all can be compared, or a selection applies to nothing.
    """
    both = counterparts(matched.pairs)
    files = named.left, named.right
    meant = [_meant(named.options, file.names, matched, side) for side, file in enumerate(files)]
    there = [set(file.names) for file in files]
    same = {name: name for name in meant[0] if name in there[1]}
    alone = there[0] - there[1], there[1] - there[0]  # what is in a file of weights is in neither
    told = [(one, other) for one, other in both.pairs if one in alone[0] and other in alone[1]]
    same.update({one: other for one, other in told if named.alike(one, other)})
    used = [{pair[side] for pair in told} | of_side for side, of_side in enumerate((both.left, both.right))]
    only = [
        tuple(file.info(name) for name in meant[side] if name not in there[1 - side] and name not in used[side])
        for side, file in enumerate(files)
    ]
    order = {name: place for place, name in enumerate(named.left.names)}
    pairing = Pairing(tuple(sorted(same.items(), key=lambda pair: order[pair[0]])), *only)
    _check(named, matched, pairing)
    return pairing


def _meant(read: ReadOptions, names: Sequence[str], matched: Matched, side: int) -> list[str]:
    """The tensors that are meant: all, or with ``--prefix``, ``--layer`` or ``--step`` theirs and what they use."""
    if not chooses_calls(read):
        return list(names)
    used = {name for pair in matched.pairs for name in pair[side].call.names}
    return [name for name in names if name in used or is_meant(name, read)]


def chooses_calls(read: ReadOptions) -> bool:
    """Whether the flags mean some calls of a file alone."""
    return any(flag is not None for flag in (read.prefix, read.layer, read.steps))


def is_meant(name: str, read: ReadOptions) -> bool:
    """Whether a tensor stands behind ``--prefix``, in ``--layer`` and in ``--step``."""
    prefix = split_name(name)[0]
    if read.prefix is not None and not means_call(prefix, read.prefix):
        return False
    if read.steps is not None and step_of(prefix) not in read.steps:
        return False
    return read.layer is None or layer_of(prefix) == read.layer


def _check(named: NamedTensors, matched: Matched, pairing: Pairing) -> None:
    if not pairing.pairs and not matched.pairs:
        sides = (named.left, pairing.only_left), (named.right, pairing.only_right)
        there = [f"{shown(file.path)} has {few([info.name for info in only]) or 'none'}" for file, only in sides]
        expected = "expected tensors of the same name, or attention calls with the same prefix or layer"
        raise InputError(f"nothing in common to compare; {expected}; {' and '.join(there)}")
    if matched.pairs:
        return  # which check the numbers themselves
    chosen = named.options.batch, named.options.heads, named.options.queries
    for (flag, axis), numbers in zip(AXES, chosen, strict=True):
        if numbers is not None and not any(named.can_select(name, axis) for name, _ in pairing.pairs):
            axes = "query heads" if axis == "head" else f"a {axis} axis"
            raise InputError(f"{flag} {few(map(str, numbers))}: no tensor that is compared has {axes} to select from")


def shared_notes(tensors: Sequence[TensorDifference]) -> Iterator[str]:
    """Said where values count as equal because neither side has a number; in masks they hide keys."""
    odd = [one for one in tensors if one.measured is not None and one.measured.nonfinite_both and one.role not in MASKS]
    number = sum(one.measured.nonfinite_both for one in odd if one.measured is not None)
    if odd:
        are = "1 value is" if number == 1 else f"{number} values are"
        names = few([one.name for one in odd])
        yield f"{are} NaN or infinite on both sides alike, which counts as equal: {names}"
