"""Figures as files: whole or not at all, and the same bytes for the same figure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from matplotlib.figure import Figure

from attn_cli.reporters.atomic import atomic_write
from attn_cli.reporters.figures.look import Look, our_style
from attn_cli.reporters.figures.request import FigureFile, FigureRequest, Format

# No date and no version: the same figure is the same file, today and tomorrow.
_METADATA: dict[Format, dict[str, Any]] = {
    "svg": {"Date": None, "Creator": "attn"},
    "png": {"Software": "attn"},
    "pdf": {"CreationDate": None, "Creator": "attn", "Producer": "attn"},
}
_BACKENDS: dict[Format, str] = {"svg": "svg", "png": "agg", "pdf": "pdf"}
_DPI: dict[Format, int] = {"svg": 600, "png": 300, "pdf": 600}  # of pictures in it; of the whole where it is a PNG


def write(draw: Callable[[Look], Figure], file: FigureFile, request: FigureRequest) -> None:
    """Draw a figure for one format and write it.

    Raises:
        ResourceError: where it cannot be written; what was there before is still there then.
    """
    with our_style(file.format, request.width) as look:
        figure = draw(look)
        with atomic_write(file.path) as temporary, open(temporary, "wb") as stream:
            figure.savefig(
                stream,
                format=file.format,
                backend=_BACKENDS[file.format],
                dpi=_DPI[file.format],
                metadata=_METADATA[file.format],
            )
