"""Which figures are to be written. Free of torch and of matplotlib."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Format = Literal["svg", "png", "pdf"]
FORMATS: tuple[Format, ...] = ("svg", "png", "pdf")
SINGLE, DOUBLE = 3.5, 7.2  # inches: one column of a journal's page, and both


@dataclass(frozen=True)
class FigureFile:
    """One file to write."""

    path: str
    format: Format


@dataclass(frozen=True)
class FigureRequest:
    """Everything there is to draw into.

    Attributes:
        files: at least one.
        width: of each, inches.
    """

    files: tuple[FigureFile, ...]
    width: float = DOUBLE
