"""The functions that are caught, one file a library, each with its ``POINTS``. This table is free of torch."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from attn_cli.recording.libraries.base import Args, Kwargs, Point

TORCH = ("torch_sdpa", "torch_multi_head", "torch_kernels")
FILES: dict[str, tuple[str, ...]] = {
    "torch": TORCH,
    "torch.nn.attention.flex_attention": ("torch_flex",),
    "flash_attn.flash_attn_interface": ("flash_attention",),
    "flash_attn_interface": ("flash_attention",),
    "xformers.ops.fmha": ("xformers",),
}
"""The modules whose import is waited for, and the files that know their functions."""


def points_of(module: str) -> tuple[Point, ...]:
    """What is to be caught once ``module`` has been imported; those of PyTorch's core come with ``torch``."""
    points = (point for file in FILES[module] for point in import_module(f"{__name__}.{file}").POINTS)
    return tuple(point for point in points if module in ("torch", point.module))


def compiled_point(point: Point) -> Point:
    """What is to be caught where a function was given to ``torch.compile`` by itself."""
    file = next((file for file in FILES.get(point.module, ()) if file == "torch_flex"), None)
    if file is None:
        return point
    return replace(point, translate=import_module(f"{__name__}.{file}").translate_compiled)


def with_arguments(point: Point, args: Args, kwargs: Kwargs) -> Point:
    """What is to be caught where a function was given some of its arguments by ``functools.partial``."""
    translate, hears = point.translate, point.hears
    return replace(
        point,
        translate=lambda more, named, result: translate((*args, *more), {**kwargs, **named}, result),
        hears=lambda more, named: hears((*args, *more), {**kwargs, **named}),
    )
