"""Dot products told by their largest parts, in columns that multiply out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.text import Text

from attn_cli.explanation.types import Dot, Part
from attn_cli.reporters.terminal.canvas import Canvas
from attn_cli.reporters.terminal.explain_digits import (
    Shown,
    formed,
    largest_of,
    power_above,
    power_below,
    read_off,
    significant,
)
from attn_cli.reporters.terminal.tables import Column, print_table
from attn_cli.reporters.terminal.text import count

INDENT = 4
_FACTOR_DIGITS = 8
_STEPS = 5  # of its last digit, that a sum may be off by


@dataclass(frozen=True)
class ShownDot:
    """A dot product as it is printed.

    Attributes:
        columns: what stands in each row of the table: the factors, then the product.
        rest: the sum of the features that are not told.
        total: the sum of all.
    """

    columns: tuple[tuple[Shown, ...], ...]
    rest: Shown
    total: Shown


def shown_score(dot: Dot, scale: float, logit_unit: float) -> ShownDot:
    """q · k, so fine that its scaled sum keeps ``logit_unit``."""
    products = [*(term.product for term in dot.terms), dot.rest]
    wanted = min(logit_unit / max(1.0, abs(scale)), significant(products, 7))
    unit = max(power_below(wanted * 2 / (len(products) + 1)), significant(products, 13))
    first, second = ([getattr(term, name) for term in dot.terms] for name in ("first", "second"))
    columns = (_factors(first, second, unit), _factors(second, first, unit), _at(unit, products[:-1]))
    return ShownDot(columns, Shown(dot.rest, unit), formed(dot.total, _summed(unit, products), min(unit * 10, wanted)))


def _factors(own: Sequence[float], other: Sequence[float], unit: float) -> tuple[Shown, ...]:
    """One column of factors, so fine that the products keep ``unit``."""
    needed = power_below(unit / largest_of(other)) if largest_of(other) else unit
    finest = min(needed, significant(own))
    return tuple(read_off(value, finest) for value in own)


def shown_part(part: Part, weight: Shown) -> ShownDot:
    """(weight · v) · output, from a weight that is printed already."""
    dot = part.along
    added, whole = ([getattr(term, name) for term in dot.terms] for name in ("first", "second"))
    values = _at(significant(part.values, _FACTOR_DIGITS), part.values)
    rough = [abs(weight.value) * one.error + abs(one.value) * weight.error for one in values]
    shown = _at(max(significant(added), power_above(largest_of(rough))), added)
    outputs = _at(significant(whole, _FACTOR_DIGITS), whole)
    products = [*(term.product for term in dot.terms), dot.rest]
    off = [abs(one.value) * two.error + abs(two.value) * one.error for one, two in zip(shown, outputs, strict=True)]
    unit = max(significant(products), power_above(largest_of(off)))
    total = formed(dot.total, _summed(unit, products), unit)
    return ShownDot((values, shown, outputs, _at(unit, products[:-1])), Shown(dot.rest, unit), total)


def _at(unit: float, values: Sequence[float]) -> tuple[Shown, ...]:
    return tuple(Shown(value, unit) for value in values)


def _summed(unit: float, parts: Sequence[float]) -> float:
    """How coarse the sum of printed parts has to be, for their roundings to move its last digit by a few steps."""
    return unit / 2 * len(parts) / _STEPS


def print_dot(canvas: Canvas, dot: Dot, shown: ShownDot, names: Sequence[str], total: str) -> None:
    """The table: a row a feature, the others in one, and their sum.

    Args:
        canvas: where to.
        dot: its features.
        shown: its numbers as they are printed.
        names: what stands above the columns of ``shown``.
        total: what the sum is called.
    """
    labels = [str(term.feature) for term in dot.terms]
    closing: list[tuple[str, Shown]] = [(total, shown.total)]
    if dot.others:
        closing.insert(0, (f"{count(dot.others, 'other')}", shown.rest))
    first = Column(_head(canvas, "feature"), _texts(canvas, [*labels, *(label for label, _ in closing)]), repeat=True)
    columns = [first]
    for name, numbers in zip(names, shown.columns, strict=True):
        is_last = numbers is shown.columns[-1]
        behind = [number.text if is_last else "" for _, number in closing]
        cells = [*(number.text for number in numbers), *behind]
        columns.append(Column(_head(canvas, name), _texts(canvas, cells)))
    print_columns(canvas, columns)


def print_columns(canvas: Canvas, columns: Sequence[Column]) -> None:
    """A table as far in as the text of a step; what does not fit goes on below."""
    print_table(canvas, columns, indent=INDENT)


def _head(canvas: Canvas, name: str) -> Text:
    return canvas.text(name, "dim")


def _texts(canvas: Canvas, values: Sequence[str]) -> tuple[Text, ...]:
    return tuple(canvas.text(value) for value in values)
