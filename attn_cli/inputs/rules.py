"""All that stands between Q·Kᵀ and the weights, out of a file, its metadata and the flags."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from attn_cli.attention.masks import UNLIMITED, MaskRule, aligned_places
from attn_cli.attention.types import Rules
from attn_cli.errors import in_file
from attn_cli.inputs.calls import CallNames
from attn_cli.inputs.lengths import FLAG as LENGTHS_FLAG
from attn_cli.inputs.lengths import judge_lengths, lengths_from_file, lengths_from_flag, lengths_text
from attn_cli.inputs.masking import (
    Constraint,
    combined_bias,
    combined_keep,
    judge_constraint,
    mask_text,
    read_constraint,
    repeats_lengths,
    used_info,
)
from attn_cli.inputs.names import SINKS, VALID_LENS
from attn_cli.inputs.options import ReadOptions
from attn_cli.inputs.readers.base import TensorFile
from attn_cli.inputs.settings import FILE, Settings, align_name
from attn_cli.inputs.text import describe, few, shown
from attn_cli.inputs.types import Convention, TensorInfo
from attn_cli.inputs.validation import CallSizes, check_floating, is_float8


@dataclass(frozen=True)
class ReadRules:
    """Rules, what they were read from, and how; ``constraints`` are the masks and biases, each by itself."""

    rules: Rules
    tensors: tuple[TensorInfo, ...]
    conventions: tuple[Convention, ...]
    constraints: tuple[Constraint, ...] = ()


def judge_rules(file: TensorFile, call: CallNames, sizes: CallSizes, options: ReadOptions) -> None:
    """Refuse mask, bias, lengths or sinks of one call by name, shape and dtype; none of them is read.

    Raises:
        InputError: where one does not fit the call.
    """
    if options.valid_lens is not None:
        lengths_from_flag(file.path, options.valid_lens, sizes)
    elif call.valid_lens is not None:
        judge_lengths(file.path, file.info(call.valid_lens), sizes)
    for name in call.constraints:
        judge_constraint(file.path, file.info(name), sizes)
    if call.sinks is not None:
        _judge_sinks(file.path, file.info(call.sinks), sizes)


def read_rules(
    file: TensorFile, call: CallNames, sizes: CallSizes, settings: Settings, options: ReadOptions
) -> ReadRules:
    """Mask, bias, sinks and numbers of one call that :func:`judge_rules` let pass.

    Raises:
        InputError: where the numbers of a tensor do not fit the call, or have no clear meaning.
    """
    lens, lens_info = _lengths(file, call, sizes, options)
    constraints = tuple(_constraint(file, name, sizes, settings) for name in call.constraints)
    repeated = _repeated(file, call, constraints, sizes, lens if options.valid_lens is None else None)
    applied = tuple(constraint for constraint in constraints if constraint not in repeated)
    sinks, sinks_info = _sinks(file, call)
    mask = MaskRule(
        sizes.keys,
        aligned_places(sizes.queries, sizes.keys, settings.align.value),
        valid_lens=lens,
        keep=combined_keep(applied),
        causal=settings.causal.value,
        window=settings.window.value,
        value=settings.mask_value.value,
    )
    bias = combined_bias(applied)
    rules = Rules(mask, scale=settings.scale.value, softcap=settings.softcap.value, bias=bias, sinks=sinks)
    infos = [info for info in (lens_info, sinks_info) if info is not None]
    infos += [used_info(constraint, "padding" if constraint in repeated else None) for constraint in constraints]
    said = _Said(call, sizes, settings, options, applied, repeated, mask, sinks)
    return ReadRules(rules, tuple(infos), tuple(said.conventions()), applied)


def _constraint(file: TensorFile, name: str, sizes: CallSizes, settings: Settings) -> Constraint:
    return read_constraint(file, name, sizes, settings.mask_polarity.value)


def _lengths(
    file: TensorFile, call: CallNames, sizes: CallSizes, options: ReadOptions
) -> tuple[Tensor | None, TensorInfo | None]:
    """The valid lengths that apply, and the tensor they come from."""
    info = None if call.valid_lens is None else file.info(call.valid_lens)
    if options.valid_lens is not None:
        return lengths_from_flag(file.path, options.valid_lens, sizes), None if info is None else replace(
            info, role="overridden"
        )
    if info is None:
        return None, None
    return lengths_from_file(file, info, sizes), replace(info, role=VALID_LENS)


def _repeated(
    file: TensorFile, call: CallNames, constraints: tuple[Constraint, ...], sizes: CallSizes, lens: Tensor | None
) -> tuple[Constraint, ...]:
    """Padding masks that say no more than the file's own valid lengths, which a flag may override."""
    if lens is None and call.valid_lens is not None:
        lens = _own_lengths(file, call.valid_lens, sizes)
    if lens is None or call.valid_lens is None:
        return ()
    return tuple(constraint for constraint in constraints if repeats_lengths(constraint, lens, sizes))


def _own_lengths(file: TensorFile, name: str, sizes: CallSizes) -> Tensor | None:
    """The file's lengths while a flag overrides them: broken ones are no reason to refuse."""
    info = file.info(name)
    if info.shape not in ((sizes.batch,), (sizes.batch, sizes.queries)) or info.dtype.startswith("complex"):
        return None
    return file.read(name).to(torch.float64)


def _judge_sinks(path: str, info: TensorInfo, sizes: CallSizes) -> None:
    check_floating(path, info)
    if info.shape != (sizes.heads,):
        raise in_file(path, describe(info), f"expected ({sizes.heads},), one logit a query head")


def _sinks(file: TensorFile, call: CallNames) -> tuple[Tensor | None, TensorInfo | None]:
    if call.sinks is None:
        return None, None
    info = file.info(call.sinks)
    x = file.read(info.name)
    return x.to(torch.float32) if is_float8(info.dtype) else x, replace(info, role=SINKS)


def aligns_by_default(sizes: CallSizes, settings: Settings) -> bool:
    """True where causal order or a window stands at places that nobody chose and that could be others."""
    is_placed = settings.causal.value or settings.window.value is not None
    return is_placed and settings.align.is_default and sizes.queries != sizes.keys


@dataclass(frozen=True)
class _Said:
    """What there is to say about the rules of one call."""

    call: CallNames
    sizes: CallSizes
    settings: Settings
    options: ReadOptions
    applied: tuple[Constraint, ...]
    repeated: tuple[Constraint, ...]
    mask: MaskRule
    sinks: Tensor | None

    def conventions(self) -> Iterator[Convention]:
        """One line for each decision that applies."""
        settings = self.settings
        yield Convention("scale", scale_text(settings.scale.value, self.sizes.head_dim), settings.scale.origin)
        if settings.softcap.value is not None:
            yield Convention("softcap", f"{settings.softcap.value:g}", settings.softcap.origin)
        yield from self._masks()
        yield from self._order()
        for constraint in self.applied:
            if constraint.bias is not None:
                yield Convention(
                    "bias", f"{shown(constraint.leaf)} {constraint.info.shape}{_read_as(constraint)}", FILE
                )
        if self.sinks is not None:
            yield Convention("sinks", f"{self.sizes.heads} learned logits in the denominator", FILE)
        if settings.mask_value.value is not None:
            yield Convention("mask value", f"{settings.mask_value.value:g}", settings.mask_value.origin)
        if self.repeated:
            leaves = [constraint.leaf for constraint in self.repeated]
            verb = "say" if len(leaves) > 1 else "says"
            yield Convention("padding", f"valid_lens; {few(leaves).replace(', ', ' and ')} {verb} the same", FILE)

    def _masks(self) -> Iterator[Convention]:
        polarity = self.settings.mask_polarity
        for constraint in self.applied:
            if constraint.keep is not None:
                origin = FILE if constraint.is_key_mask else polarity.origin
                yield Convention("mask", mask_text(constraint, polarity.value), origin)
        if self.mask.valid_lens is not None:
            origin = FILE if self.options.valid_lens is None else LENGTHS_FLAG
            yield Convention("valid lengths", lengths_text(self.mask.valid_lens), origin)

    def _order(self) -> Iterator[Convention]:
        settings = self.settings
        if settings.causal.value:
            yield Convention("causal", "a query sees the keys up to its own place", settings.causal.origin)
        if settings.causal.value or settings.window.value is not None or self.sizes.queries != self.sizes.keys:
            yield Convention("alignment", align_name(settings.align.value), settings.align.origin)
        if settings.window.value is not None:
            yield Convention("window", window_text(settings.window.value), settings.window.origin)


def _read_as(constraint: Constraint) -> str:
    return f" as {constraint.reading}" if constraint.reading else ""


def scale_text(scale: float | None, head_dim: int) -> str:
    """``"0.1768 = 1/√32"``; a scale of another origin stands alone."""
    default: float = head_dim**-0.5
    value = default if scale is None else scale
    return f"{value:.4g} = 1/√{head_dim}" if math.isclose(value, default, rel_tol=1e-6) else f"{value:.4g}"


def window_text(window: tuple[int, int]) -> str:
    """``"4 to the left, all to the right"``."""
    left, right = ("all" if side == UNLIMITED else str(side) for side in window)
    return f"keys: {left} to the left, {right} to the right"
