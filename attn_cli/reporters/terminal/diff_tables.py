"""The tables of a comparison: tensors, calls, heads."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from rich.text import Text

from attn_cli.differences.rules import apart_texts, tolerance_text
from attn_cli.differences.types import (
    CallDifference,
    Compared,
    Divergence,
    HeadDifference,
    Measured,
    TensorDifference,
    Tolerance,
    badness,
)
from attn_cli.reporters.terminal.canvas import Canvas
from attn_cli.reporters.terminal.labels import step_name
from attn_cli.reporters.terminal.palette import BAD, GOOD
from attn_cli.reporters.terminal.tables import Column, print_table
from attn_cli.reporters.terminal.text import count

MANY_TENSORS, MOST_TENSORS = 8, 20
MOST_HEADS = 32
UNKNOWN = "–"
NO_PREFIX = "(no prefix)"


def error(value: float) -> str:
    """``1.2e-07``; 0 is exactly that, a dash is nothing to compare."""
    return UNKNOWN if math.isnan(value) else "0" if value == 0 else f"{value:.1e}"


def ulps(value: float) -> str:
    """Spacings of the coarser dtype."""
    if math.isnan(value):
        return UNKNOWN
    return f"{value:.1e}" if value >= 1e5 else f"{value:.1f}" if value < 100 and value % 1 else f"{value:.0f}"


def tolerance_and_dtype(tolerance: Tolerance) -> str:
    """``1e-05 + 1.3e-06·|right| (float32)``."""
    return f"{tolerance_text(tolerance)} ({tolerance.dtype})"


def mark(canvas: Canvas, is_good: bool) -> Text:
    """Whether something passes."""
    return canvas.text("✓" if is_good else "✗", GOOD if is_good else BAD)


def print_tensors(canvas: Canvas, tensors: Sequence[TensorDifference]) -> None:
    """Those that differ, or all where they are few."""
    shown = list(tensors)
    if len(shown) > MANY_TENSORS:
        shown = [tensor for tensor in tensors if not tensor.within][:MOST_TENSORS]
    if not shown:
        return
    names = [canvas.text(tensor_name(tensor), "bold") for tensor in shown]
    columns = [Column(canvas.text("tensor", "dim"), tuple(names), right=False, repeat=True)]
    columns.append(Column(canvas.text(""), tuple(mark(canvas, tensor.within) for tensor in shown)))
    columns += [
        _column(canvas, "max abs", [_of(tensor, lambda m: error(m.max_abs_error)) for tensor in shown]),
        _column(canvas, "max rel", [_of(tensor, lambda m: error(m.max_rel_error)) for tensor in shown]),
        _column(canvas, "ULPs", [_of(tensor, lambda m: ulps(m.max_ulps)) for tensor in shown]),
        _column(canvas, "differing", [_of(tensor, lambda m: str(m.differing)) for tensor in shown]),
    ]
    if not all(tensor.same_kind for tensor in shown):
        kinds = tuple(canvas.text(_kind(tensor), BAD) for tensor in shown)
        columns.append(Column(canvas.text("left ≠ right", "dim"), kinds, right=False))
    print_table(canvas, columns)
    if len(shown) < len(tensors):
        alike = sum(tensor.within for tensor in tensors)
        more = len(tensors) - alike - len(shown)
        said = [f"{count(alike, 'tensor')} within the tolerance"] + ([f"{more} more differ"] if more else [])
        canvas.paragraph(canvas.text(", ".join(said), "dim"), indent=2, hanging=2)


def tensor_name(tensor: TensorDifference) -> str:
    """Its name, or both."""
    return tensor.name if tensor.right.name == tensor.name else f"{tensor.name} / {tensor.right.name}"


def _of(tensor: TensorDifference, text: Callable[[Measured], str]) -> str:
    return UNKNOWN if tensor.measured is None else text(tensor.measured)


def _kind(tensor: TensorDifference) -> str:
    """What differs of shape and dtype."""
    left, right = tensor.left, tensor.right
    parts = [f"{left.shape} ≠ {right.shape}"] if left.shape != right.shape else []
    parts += [f"{left.dtype} ≠ {right.dtype}"] if left.dtype != right.dtype else []
    return ", ".join(parts)


def print_calls(canvas: Canvas, calls: Sequence[CallDifference]) -> None:
    """A line for each call."""
    records = [call.left for call in calls]
    names = tuple(canvas.text(step_name(call.left, records), "bold") for call in calls)
    columns = [Column(canvas.text("call", "dim"), names, right=False, repeat=True)]
    columns.append(Column(canvas.text(""), tuple(mark(canvas, call.within) for call in calls)))
    totals = [None if call.output is None else call.output.total for call in calls]
    columns += _number_columns(canvas, totals)
    if any(call.weights is not None for call in calls):
        weights = [call.weights for call in calls]
        columns.append(
            _column(canvas, "weights", [UNKNOWN if w is None else error(w.total.max_abs_error) for w in weights])
        )
        columns.append(_column(canvas, "JS", [UNKNOWN if w is None else error(_largest_mean(w)) for w in weights]))
    columns.append(_column(canvas, "first row", [_first_row(call.parts) for call in calls]))
    if any(call.left.prefix.lower() != call.right.prefix.lower() for call in calls):
        for side, prefixes in (
            ("left", [one.left.prefix for one in calls]),
            ("right", [one.right.prefix for one in calls]),
        ):
            shown = tuple(canvas.text(prefix or NO_PREFIX) for prefix in prefixes)
            columns.append(Column(canvas.text(side, "dim"), shown, right=False))
    print_table(canvas, columns)


def _largest_mean(weights: Compared) -> float:
    known = [head.divergence.mean for head in weights.heads if head.divergence is not None]
    return max((mean for mean in known if not math.isnan(mean)), default=math.nan)


def _first_row(parts: Sequence[Compared]) -> str:
    rows = [part.total.first_row for part in parts if part.total.first_row is not None]
    return str(min(rows)) if rows else UNKNOWN


def print_heads(
    canvas: Canvas, output: Compared | None, weights: Compared | None, only_differing: bool = False
) -> None:
    """A row a head: its output, and its weights where they were compared; of very many the worst."""
    parts = [part for part in (output, weights) if part is not None]
    heads = len(parts[0].heads)
    if all(part.total.worst is None for part in parts):
        what = " and ".join(part.quantity for part in parts)
        canvas.paragraph(canvas.text(f"{count(heads, 'head')}: {what} equal, value for value"), indent=2, hanging=2)
        return
    rows = _worst_rows(parts, [row for row in range(heads) if not (only_differing and _passes(parts, row))])
    columns = _row_columns(canvas, parts[0], rows)
    columns.append(Column(canvas.text(""), tuple(mark(canvas, _passes(parts, row)) for row in rows)))
    if output is not None:
        columns += _number_columns(canvas, [output.heads[row].measured for row in rows])
    if weights is not None:
        columns += _weight_columns(canvas, [weights.heads[row] for row in rows], is_alone=output is None)
    columns.append(_column(canvas, "first row", [_first_of(parts, row) for row in rows]))
    print_table(canvas, columns)
    if len(rows) < heads:
        which = "those that differ" if only_differing and len(rows) < MOST_HEADS else "those that differ most"
        canvas.paragraph(canvas.text(f"{len(rows)} of {count(heads, 'head')}: {which}", "dim"), indent=2)
    for part in parts:
        _print_worst(canvas, part, [row for row in rows if not part.heads[row].measured.within])


def _row_columns(canvas: Canvas, part: Compared, rows: Sequence[int]) -> list[Column]:
    """The columns that say which head a row is."""
    picked = [part.heads[row] for row in rows]
    columns = [Column(canvas.text("head", "dim"), tuple(canvas.text(one.head, "bold") for one in picked), repeat=True)]
    if len({head.batch for head in part.heads}) > 1:
        batch = tuple(canvas.text(one.batch) for one in picked)
        columns.insert(0, Column(canvas.text("batch", "dim"), batch, repeat=True))
    return columns


def _passes(parts: Sequence[Compared], row: int) -> bool:
    return all(part.heads[row].measured.within for part in parts)


def _worst_rows(parts: Sequence[Compared], rows: list[int]) -> list[int]:
    """These in order, or those that differ most where they are very many."""
    if len(rows) <= MOST_HEADS:
        return rows

    def worst_of(row: int) -> tuple[int, bool, float]:
        return max(badness(part.heads[row].measured) for part in parts)

    return sorted(sorted(rows, key=worst_of, reverse=True)[:MOST_HEADS])


def _number_columns(canvas: Canvas, measured: Sequence[Measured | None]) -> list[Column]:
    def column(name: str, text: Callable[[Measured], str]) -> Column:
        return _column(canvas, name, [UNKNOWN if one is None else text(one) for one in measured])

    return [
        column("max abs", lambda one: error(one.max_abs_error)),
        column("max rel", lambda one: error(one.max_rel_error)),
        column("ULPs", lambda one: ulps(one.max_ulps)),
        column("1−cos", lambda one: error(1 - one.cosine)),
    ]


def _weight_columns(canvas: Canvas, heads: Sequence[HeadDifference], is_alone: bool) -> list[Column]:
    measured = [head.measured for head in heads]
    columns = _number_columns(canvas, measured)
    if not is_alone:
        columns = [_column(canvas, "weights", [error(one.max_abs_error) for one in measured])]
    spread = [head.divergence or Divergence(math.nan, math.nan, None) for head in heads]
    columns.append(_column(canvas, "JS", [error(one.mean) for one in spread]))
    return columns


def _first_of(parts: Sequence[Compared], row: int) -> str:
    firsts = [part.heads[row].measured.first_row for part in parts]
    known = [first for first in firsts if first is not None]
    return str(min(known)) if known else UNKNOWN


def _print_worst(canvas: Canvas, part: Compared, rows: Sequence[int]) -> None:
    """Where the worst value of each of these heads is, and what it is on both sides."""
    found = [(row, part.heads[row].measured.worst) for row in rows]
    worst = [(row, one) for row, one in found if one is not None]
    if not worst:
        return
    values = [apart_texts(one.left, one.right) for _, one in worst]
    columns = _row_columns(canvas, part, [row for row, _ in worst])
    columns += [
        _column(canvas, "query", [str(one.row) for _, one in worst]),
        _column(canvas, part.columns, [str(one.column) for _, one in worst]),
        _column(canvas, "left", [left for left, _ in values]),
        _column(canvas, "right", [right for _, right in values]),
    ]
    canvas.line()
    what = "weight" if part.quantity == "weights" else "output value"
    which = "the first that differs in what is finite, else the farthest apart beyond the tolerance"
    canvas.paragraph(canvas.text(f"of each head the worst {what}: {which}", "dim"), indent=2, hanging=2)
    print_table(canvas, columns)


def _column(canvas: Canvas, name: str, texts: Sequence[str]) -> Column:
    return Column(canvas.text(name, "dim"), tuple(canvas.text(text) for text in texts))
