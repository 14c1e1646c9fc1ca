"""The options for figures, declared once for every command that draws them. Free of torch and of matplotlib."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Iterable
from importlib.util import find_spec
from typing import Annotated

import typer

from attn_cli.commands.options import OUTPUT
from attn_cli.errors import UsageError
from attn_cli.inputs.numbers import real
from attn_cli.inputs.text import shown
from attn_cli.reporters.figures import DOUBLE, SINGLE, FigureFile, FigureRequest
from attn_cli.reporters.figures.request import FORMATS

WIDTHS = {"single": SINGLE, "double": DOUBLE}
NARROWEST, WIDEST = 2.0, 40.0  # inches

Svg = Annotated[
    str | None,
    typer.Option(
        "--svg", metavar="OUT.svg", help="Write a figure, its text as text (attn-cli\\[plot]).", rich_help_panel=OUTPUT
    ),
]
Png = Annotated[
    str | None,
    typer.Option("--png", metavar="OUT.png", help="The same with 300 dots an inch.", rich_help_panel=OUTPUT),
]
Pdf = Annotated[
    str | None,
    typer.Option("--pdf", metavar="OUT.pdf", help="The same with its font embedded.", rich_help_panel=OUTPUT),
]
FigureWidth = Annotated[
    str | None,
    typer.Option(
        "--figure-width",
        metavar="single|double|INCHES",
        help=f"One column ({SINGLE} inches) or two ({DOUBLE}) of a page. \\[default: double]",
        rich_help_panel=OUTPUT,
    ),
]


def figures_asked_for(
    svg: str | None, png: str | None, pdf: str | None, width: str | None, onto: Iterable[str | None] = ()
) -> FigureRequest | None:
    """The figures to write, refused before anything is computed where they cannot be; None where none was asked for.

    Args:
        svg: a file to write, or None.
        png: another.
        pdf: another.
        width: ``single``, ``double`` or inches; None is the default.
        onto: files that are read and must not be replaced.

    Raises:
        UsageError: where matplotlib is missing, a suffix promises another format, a file is one that is read, or the
            width is none.
        ResourceError: where a folder is missing or may not be written to.
    """
    asked = {name: path for name, path in zip(FORMATS, (svg, png, pdf), strict=True) if path is not None}
    inches = _inches(width)
    if not asked:
        if width is not None:
            raise UsageError(f"--figure-width {shown(width, 60)}: found no figure; expected --svg, --png or --pdf too")
        return None
    if find_spec("matplotlib") is None:
        needs = f"--{next(iter(asked))} needs the package matplotlib; expected it to be installed"
        raise UsageError(needs, "pip install 'attn-cli[plot]'")
    read = [path for path in onto if path is not None]
    for name, path in asked.items():
        _check(f"--{name}", name, path, read)
    _settle_matplotlib()
    return FigureRequest(tuple(FigureFile(path, name) for name, path in asked.items()), inches)


def _settle_matplotlib() -> None:
    """Each figure names its backend, and where matplotlib keeps its cache is nobody's business."""
    os.environ.pop("MPLBACKEND", None)
    logging.getLogger("matplotlib").setLevel(logging.ERROR)


def _check(option: str, suffix: str, path: str, read: list[str]) -> None:
    from attn_cli.reporters.atomic import check_output

    if not path.lower().endswith(f".{suffix}"):
        raise UsageError(f"{option} {path}: expected a name that ends in .{suffix}")
    check_output(option, path, (), "", read)


def _inches(width: str | None) -> float:
    if width is None:
        return DOUBLE
    try:
        inches = WIDTHS.get(width.strip()) or real(width.strip().removesuffix("in").rstrip())
    except ValueError:
        inches = math.nan
    if not NARROWEST <= inches <= WIDEST:
        expected = f"expected single, double or {NARROWEST:g} to {WIDEST:g} inches"
        raise UsageError(f"--figure-width {shown(width, 60)}: {expected}")
    return inches
