"""Where differences sit: a small heat map of each head that does not pass."""

from __future__ import annotations

import math

from rich.text import Text

from attn_cli.differences.types import Compared, DifferenceMap, HeadDifference, badness
from attn_cli.reporters.terminal.canvas import MIN_WIDTH, Canvas, padded
from attn_cli.reporters.terminal.cells import Layout, Picture, draw
from attn_cli.reporters.terminal.layout import GAP, balanced
from attn_cli.reporters.terminal.palette import NAN, level
from attn_cli.reporters.terminal.text import compact, count

MOST_MAPS = 6
_MOST_ROWS, _MOST_COLUMNS = 16, 32
_SMALL_ROWS, _SMALL_COLUMNS = 8, 16
_LABEL = 5
_SHADES, _ASCII_SHADES = " ░▒▓█", " .:-=+*#%@"


def map_limits(width: int) -> tuple[int, int]:
    """How many (rows, columns) of cells a head's map may have at this width, so that it is small."""
    return _MOST_ROWS, min(_MOST_COLUMNS, max(width, MIN_WIDTH) - _LABEL - 1)


def print_maps(canvas: Canvas, compared: Compared) -> None:
    """The maps of the heads that do not pass, several side by side."""
    found, pictures = compared.map, []
    heads = [number for number, head in enumerate(compared.heads) if not head.measured.within]
    if found is None or not heads:
        return
    heads.sort(key=lambda number: badness(compared.heads[number].measured), reverse=True)
    shown = sorted(heads[:MOST_MAPS])
    cells = found.cells[shown].double()
    finite = cells[cells.isfinite()]
    largest = float(finite.max()) if len(finite) else 0.0
    canvas.line()
    canvas.paragraph(_caption(canvas, compared, found), indent=2)
    for number in shown:
        pictures.append(_picture(canvas, compared, found, number, largest))
    _print_side_by_side(canvas, pictures)
    canvas.paragraph(_legend(canvas, largest, bool((~cells.isfinite()).any())), indent=2)
    if len(heads) > MOST_MAPS:
        said = f"{count(len(heads) - MOST_MAPS, 'head')} more: --batch and --head select"
        canvas.paragraph(canvas.text(said, "dim"), indent=2)


def _caption(canvas: Canvas, compared: Compared, found: DifferenceMap) -> Text:
    what = f"where the {compared.quantity} differ{'' if compared.quantity == 'weights' else 's'}"
    axes = f"rows are queries, columns are {compared.columns}s"
    pool = found.row_pool * found.column_pool
    pooled = "each cell is one |left − right|"
    if pool > 1:
        size = f"{found.row_pool}×{found.column_pool}"
        pooled = f"max-pooled {size}: each cell is the largest |left − right| of {pool} values"
    return canvas.text(f"{what}: {axes}; {pooled}", "dim")


def _picture(canvas: Canvas, compared: Compared, found: DifferenceMap, number: int, largest: float) -> Picture:
    """One head; cells are shares of the largest difference, NaN where values differ in what is finite."""
    cells = found.cells[number].double()
    shares = (cells / largest if largest > 0 else cells.clone()).masked_fill(~cells.isfinite(), math.nan)
    rows, columns = cells.shape
    return Picture(
        title=_title(canvas, compared, compared.heads[number]),
        weights=shares.tolist(),
        visible=[[True] * columns for _ in range(rows)],
        sink=None,
        rows=[compact(row) for row in found.rows],
        columns=[compact(column * found.column_pool) for column in range(columns)],
    )


def _title(canvas: Canvas, compared: Compared, head: HeadDifference) -> Text:
    has_batch = len({one.batch for one in compared.heads}) > 1
    parts = [canvas.text(f"head {head.head}", "bold")]
    return canvas.join(([canvas.text(f"batch {head.batch}", "bold")] if has_batch else []) + parts, " · ")


def _print_side_by_side(canvas: Canvas, pictures: list[Picture]) -> None:
    rows, columns = len(pictures[0].rows), len(pictures[0].columns)
    label = max(len(name) for name in pictures[0].rows)
    is_small = rows <= _SMALL_ROWS and columns <= _SMALL_COLUMNS
    layout = Layout("blocks", 2, label, False) if is_small else Layout("halves", 1, label, False)
    if layout.width(columns, False) > canvas.width:
        layout = Layout("halves", 1, label, False)
    width = max(layout.width(columns, False), *(picture.title.cell_len for picture in pictures))
    across = balanced(len(pictures), max(1, (canvas.width + GAP) // (width + GAP)))
    for first in range(0, len(pictures), across):
        panels = [draw(canvas, layout, picture) for picture in pictures[first : first + across]]
        for lines in zip(*panels, strict=True):
            canvas.line(*(padded(line, width + GAP) for line in lines))
        canvas.line()


def _legend(canvas: Canvas, largest: float, has_odd: bool) -> Text:
    """From no difference to the largest, in the cells' own signs."""
    if canvas.ramp is not None:
        bar = [canvas.text(" ", canvas.ramp.number(level((step / 8) ** 2))) for step in range(9)]
    else:
        bar = [canvas.text(shade) for shade in (_SHADES if canvas.unicode else _ASCII_SHADES)]
    name = canvas.text("on a square-root scale", "dim")
    parts = [canvas.text("0", "dim"), canvas.text("").join(bar), canvas.text(f"{largest:.2g}", "dim"), name]
    scale = canvas.join(parts) if largest > 0 else canvas.text("")
    if not has_odd:
        return scale
    return canvas.join(
        [scale, canvas.join([canvas.text("!", NAN), canvas.text("differs in what is finite", "dim")])], "   "
    )
