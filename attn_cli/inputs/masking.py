"""Masks and biases out of a file: what each means, and its four axes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import reduce

import torch
from torch import Tensor

from attn_cli.attention.masks import HIDING
from attn_cli.errors import InputError, in_file
from attn_cli.inputs.lengths import visible_keys
from attn_cli.inputs.names import ADDITIVE, BIAS, KEY_MASK, KEY_PADDING, MASK, role_of, split_name
from attn_cli.inputs.readers.base import TensorFile
from attn_cli.inputs.text import describe, shown
from attn_cli.inputs.types import TensorInfo
from attn_cli.inputs.validation import CallSizes, is_float8


@dataclass(frozen=True)
class Constraint:
    """One mask or bias, read.

    Attributes:
        info: the tensor as the file has it.
        keep: bool, four axes, True = may attend; None for a bias.
        bias: float, four axes; None for a mask.
        is_key_mask: True where the name says what a True means: in Hugging Face's ``attention_mask`` "may attend", in
            the ``key_padding_mask`` of ``nn.MultiheadAttention`` "hidden".
        reading: how its axes were read, where that was to be decided.
    """

    info: TensorInfo
    keep: Tensor | None = None
    bias: Tensor | None = None
    is_key_mask: bool = False
    reading: str = ""

    @property
    def leaf(self) -> str:
        """The tensor's name without its prefix."""
        return split_name(self.info.name)[1]

    @property
    def role(self) -> str:
        """What the tensor was taken for."""
        if self.bias is not None:
            return BIAS
        if not self.is_key_mask:
            return MASK
        return KEY_PADDING if self.is_key_padding else KEY_MASK

    @property
    def is_key_padding(self) -> bool:
        """True for the mask of ``nn.MultiheadAttention`` that marks padding."""
        return role_of(self.leaf) == KEY_PADDING


@dataclass(frozen=True)
class ConstraintAxes:
    """How a mask or bias is to be read.

    Attributes:
        role: that its name gives it.
        is_flat: whether it is (B, Sk).
        shape: its four axes, ``(B or 1, Hq or 1, Sq or 1, Sk or 1)``.
        reading: how they were read, where that was to be decided.
    """

    role: str | None
    is_flat: bool
    shape: tuple[int, ...]
    reading: str


def judge_constraint(path: str, info: TensorInfo, sizes: CallSizes) -> ConstraintAxes:
    """Decide by name, shape and dtype how one mask or bias is to be read.

    Args:
        path: of the file that holds it.
        info: of it.
        sizes: of the call.

    Raises:
        InputError: where its shape does not broadcast, or numbers of its dtype have no clear meaning.
    """
    leaf = split_name(info.name)[1]
    role = role_of(leaf)
    is_flat = _is_flat(role, info.shape, sizes)
    flat = (sizes.batch, 1, 1, sizes.keys), "(B, Sk)"
    axes = ConstraintAxes(role, is_flat, *(flat if is_flat else four_axes(path, info, sizes)))
    if info.dtype.startswith(("float", "bfloat")):
        if role == MASK and leaf.lower() != "attn_mask":
            raise _no_mask(path, info, "a float mask is added to the logits: call it bias")
    elif role in (ADDITIVE, BIAS):
        hint = "a boolean mask is called mask" if info.dtype == "bool" else None
        raise in_file(path, describe(info), "expected float numbers, which are added to the logits", hint)
    elif info.dtype.startswith("complex"):
        raise _no_mask(path, info)
    return axes


def read_constraint(file: TensorFile, name: str, sizes: CallSizes, polarity: str) -> Constraint:
    """Read one mask or bias; its shape is judged before its numbers are read.

    Args:
        file: that holds it.
        name: of it.
        sizes: of the call.
        polarity: ``"keep"`` or ``"drop"``, what True means in a mask whose name does not say so.

    Raises:
        InputError: as :func:`judge_constraint`, or where its numbers have no clear meaning.
    """
    path, info = file.path, file.info(name)
    axes = judge_constraint(path, info, sizes)
    x = file.read(name).reshape(axes.shape)
    x = x.to(torch.float32) if is_float8(info.dtype) else x
    if axes.role == KEY_PADDING:
        return _key_padding(path, info, x, axes.reading if axes.is_flat else "")
    if axes.is_flat:
        return _key_mask(path, info, x, axes.reading)
    if x.is_floating_point():
        return Constraint(info, bias=x, reading=axes.reading)
    keep = _as_bool(path, info, x)
    return Constraint(info, keep=keep if polarity == "keep" else ~keep, reading=axes.reading)


def _is_flat(role: str | None, shape: tuple[int, ...], sizes: CallSizes) -> bool:
    """Whether a mask whose name speaks of keys is (B, Sk), or a ``key_padding_mask`` (Sk,) of a batch of one."""
    is_row = role == KEY_PADDING and sizes.batch == 1 and shape == (sizes.keys,)
    return is_row or (role in (KEY_MASK, KEY_PADDING) and shape == (sizes.batch, sizes.keys))


def _key_mask(path: str, info: TensorInfo, x: Tensor, reading: str) -> Constraint:
    """``attention_mask``, here (B, 1, 1, Sk): which keys of each batch item may be attended to."""
    is_additive = x.is_floating_point() and not _is_ones_and_zeros(x)
    if is_additive:
        return Constraint(info, bias=x, reading=reading)
    return Constraint(info, keep=_as_bool(path, info, x), is_key_mask=True)


def _key_padding(path: str, info: TensorInfo, x: Tensor, reading: str) -> Constraint:
    """``key_padding_mask``: True hides a key, and numbers are added."""
    if x.is_floating_point():
        return Constraint(info, bias=x, reading=reading)
    return Constraint(info, keep=~_as_bool(path, info, x), is_key_mask=True)


def _is_ones_and_zeros(x: Tensor) -> bool:
    """True where x holds 1s and nothing else but 0s; zeros alone are a bias that adds nothing."""
    return bool(((x == 0) | (x == 1)).all()) and bool((x == 1).any())


def _as_bool(path: str, info: TensorInfo, x: Tensor) -> Tensor:
    if x.dtype == torch.bool:
        return x
    is_other = (x != 0) & (x != 1)
    if bool(is_other.any()):
        raise _no_mask(path, info, found=f": found {x[is_other][0].item()}")
    return x != 0


def _no_mask(path: str, info: TensorInfo, hint: str | None = None, found: str = "") -> InputError:
    return in_file(path, f"{describe(info)}{found}", "expected booleans, or whole numbers 0 and 1", hint)


def four_axes(path: str, info: TensorInfo, sizes: CallSizes) -> tuple[tuple[int, ...], str]:
    """The four axes of a mask or bias of rank 2 to 4 that broadcast to ``(B, Hq, Sq, Sk)``, and how it was read.

    Axes count from the right, as in NumPy. Rank 3 is (Hq, Sq, Sk) unless it only fits as (B·Hq, Sq, Sk), the form of
    ``nn.MultiheadAttention``. What could be (B, Sk) or (B, Sq, Sk) as well is said to be read otherwise.

    Raises:
        InputError: where it does not broadcast.
    """
    full, shape = sizes.weights_shape, info.shape
    if len(shape) not in (2, 3, 4):
        raise _unfit(path, info, sizes)
    is_fitting = all(size in (1, whole) for size, whole in zip(reversed(shape), reversed(full), strict=False))
    batch, heads, queries, keys = full
    if is_fitting:
        return (1,) * (4 - len(shape)) + shape, _chosen_axes(shape, sizes)
    is_stacked = len(shape) == 3 and shape[0] == batch * heads and shape[1] in (1, queries) and shape[2] in (1, keys)
    if is_stacked:
        return (batch, heads, *shape[1:]), "(B·H, Sq, Sk)"
    raise _unfit(path, info, sizes)


def _chosen_axes(shape: tuple[int, ...], sizes: CallSizes) -> str:
    """The axes that a mask was read by, where its sizes alone would allow those of a batch as well; else nothing."""
    first_of = {2: ("(Sq, Sk)", sizes.queries), 3: ("(Hq, Sq, Sk)", sizes.heads)}
    text, size = first_of.get(len(shape), ("", 0))
    return text if shape[0] == size == sizes.batch > 1 else ""


def _unfit(path: str, info: TensorInfo, sizes: CallSizes) -> InputError:
    is_keys = info.shape == (sizes.batch, sizes.keys)
    hint = f"a (B, Sk) key mask is given as {(sizes.batch, 1, 1, sizes.keys)}" if is_keys else None
    expected = f"expected rank 2 to 4, to broadcast to (B, Hq, Sq, Sk) = {sizes.weights_shape}"
    return in_file(path, describe(info), expected, hint)


def repeats_lengths(constraint: Constraint, lens: Tensor, sizes: CallSizes) -> bool:
    """True where a padding mask hides exactly the keys that the valid lengths hide, and adds nothing elsewhere."""
    if role_of(constraint.leaf) not in (KEY_MASK, KEY_PADDING, ADDITIVE):
        return False
    visible = visible_keys(lens, sizes.keys)  # (B, 1, Sq or 1, Sk)
    if constraint.keep is not None:
        return bool((constraint.keep == visible).all())
    assert constraint.bias is not None  # a constraint is a mask or a bias
    adds_nothing, hides = constraint.bias == 0, constraint.bias <= HIDING
    return bool(torch.where(visible, adds_nothing, hides).all())


def combined_keep(constraints: tuple[Constraint, ...]) -> Tensor | None:
    """All masks at once: a key is visible where each of them leaves it so."""
    masks = [constraint.keep for constraint in constraints if constraint.keep is not None]
    return reduce(torch.logical_and, masks) if masks else None


def combined_bias(constraints: tuple[Constraint, ...]) -> Tensor | None:
    """The sum of all biases."""
    biases = [constraint.bias for constraint in constraints if constraint.bias is not None]
    return reduce(torch.add, biases) if biases else None


def used_info(constraint: Constraint, role: str | None = None) -> TensorInfo:
    """The tensor with what it was taken for."""
    return replace(constraint.info, role=role or constraint.role)


def mask_text(constraint: Constraint, polarity: str) -> str:
    """What a True or a 1 means in a mask."""
    keeps = not constraint.is_key_padding if constraint.is_key_mask else polarity == "keep"
    meaning = "may attend" if keeps else "hidden"
    is_number = constraint.role == KEY_MASK or constraint.info.dtype != "bool"
    sign = "1" if is_number else "True"
    return f"{shown(constraint.leaf)}: {sign} = {meaning}" + (f", {constraint.reading}" if constraint.reading else "")
