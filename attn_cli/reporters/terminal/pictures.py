"""Every head as a picture, several side by side."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from rich.text import Text

from attn_cli.reporters.terminal.canvas import Canvas, padded
from attn_cli.reporters.terminal.captions import pictured_queries, print_captions
from attn_cli.reporters.terminal.cells import Layout, Picture, draw, legend
from attn_cli.reporters.terminal.labels import Names
from attn_cli.reporters.terminal.layout import GAP, Space, balanced, choose_layout
from attn_cli.reporters.terminal.palette import LABEL_STYLES
from attn_cli.reporters.terminal.text import compact
from attn_cli.results import CallResult

MOST_PICTURES = 32


def print_pictures(canvas: Canvas, result: CallResult) -> None:
    """The heads of the first batch items, as many as can be taken in."""
    index, names = result.inspection.index, Names.of(result)
    space = _space(canvas, result, names)
    layout = choose_layout(canvas, space)
    canvas.heading("Heads", "rows are queries, columns are keys")
    print_captions(canvas, result, pictured_batches(result))
    for batch in pictured_batches(result):
        if index.total_batch > 1:
            canvas.line(canvas.text(f"batch {index.batch[batch]}", "bold dim"))
        _print_side_by_side(canvas, layout, space, list(_pictures(canvas, result, names, layout, batch)))
    canvas.paragraph(legend(canvas, layout, result.inspection.pictures))


def pictured_batches(result: CallResult) -> range:
    """Which batch items of the selection get pictures and rows of their own."""
    index = result.inspection.index
    return range(min(len(index.batch), max(1, MOST_PICTURES // max(1, len(index.heads)))))


def title(canvas: Canvas, head: int, label: str) -> Text:
    """``head 3 · previous-token``."""
    return canvas.join([canvas.text(f"head {head}", "bold"), canvas.text(label, LABEL_STYLES.get(label, ""))], " · ")


def _space(canvas: Canvas, result: CallResult, names: Names) -> Space:
    """What all pictures of the call need."""
    inspection, batches = result.inspection, pictured_batches(result)
    *_, rows, columns = inspection.pictures.weights.shape
    heads = [
        (head, label) for b in batches for head, label in zip(inspection.index.heads, inspection.labels[b], strict=True)
    ]
    tokens = [name for b in batches for axis in _names(result, names, b) for name in axis]
    return Space(
        pictures=len(heads),
        rows=rows,
        columns=columns,
        has_sink=inspection.pictures.sink is not None,
        title=max((title(canvas, head, label).cell_len for head, label in heads), default=0),
        numbers=max((len(row) for row in _names(result, names, batches[0], tokens=False)[0]), default=1),
        tokens=tokens if _has_tokens(result, names) else (),
    )


def _has_tokens(result: CallResult, names: Names) -> bool:
    """Whether every row and column of cells is one token."""
    pooled = result.inspection.pictures
    return names.tokens is not None and pooled.query_pool * pooled.key_pool == 1


def _names(result: CallResult, names: Names, batch: int, tokens: bool = True) -> tuple[list[str], list[str]]:
    """The names of the rows and of the columns: the first query and key of each, or the token where it is known.

    Numbers in a zoom are written in full, for in a narrow one their last digits tell them apart.
    """
    pooled, original = result.inspection.pictures, result.inspection.index.batch[batch]
    queries: list[int] = pictured_queries(result)[:: pooled.query_pool].tolist()
    keys = [pooled.first_key + column * pooled.key_pool for column in range(pooled.weights.shape[3])]
    name = compact if pooled.zoom is None else str
    rows, columns = [name(query) for query in queries], [name(key) for key in keys]
    if tokens and _has_tokens(result, names):
        rows = [names.query(original, query) or row for query, row in zip(queries, rows, strict=True)]
        columns = [names.key(original, key) or column for key, column in zip(keys, columns, strict=True)]
    return rows, columns


def _pictures(canvas: Canvas, result: CallResult, names: Names, layout: Layout, batch: int) -> Iterator[Picture]:
    """The pictures of one batch item of the selection, head by head."""
    inspection = result.inspection
    pooled = inspection.pictures
    rows, columns = _names(result, names, batch, layout.tokens)
    for head, number in enumerate(inspection.index.heads):
        visible = pooled.visible[min(batch, len(pooled.visible) - 1)]
        yield Picture(
            title=title(canvas, number, inspection.labels[batch][head]),
            weights=pooled.weights[batch, head].tolist(),
            visible=visible[min(head, len(visible) - 1)].tolist(),
            sink=None if pooled.sink is None else pooled.sink[batch, head].tolist(),
            rows=rows,
            columns=columns,
        )


def _print_side_by_side(canvas: Canvas, layout: Layout, space: Space, pictures: list[Picture]) -> None:
    width = space.panel(canvas, layout)
    if width > canvas.width:
        pictures = [page for picture in pictures for page in _pages(canvas, layout, picture)]
    across = balanced(len(pictures), max(1, space.across(canvas, layout)))
    for first in range(0, len(pictures), across):
        panels = [draw(canvas, layout, picture) for picture in pictures[first : first + across]]
        for lines in zip(*panels, strict=True):
            canvas.line(*(padded(line, width + GAP) for line in lines))
        canvas.line()


def _pages(canvas: Canvas, layout: Layout, picture: Picture) -> Iterator[Picture]:
    """A picture wider than the canvas, cut into pages of columns."""
    columns = max(1, (canvas.width - layout.width(0, picture.sink is not None)) // layout.cell)
    for first in range(0, len(picture.columns), columns):
        cut = slice(first, first + columns)
        yield replace(
            picture,
            weights=[row[cut] for row in picture.weights],
            visible=[row[cut] for row in picture.visible],
            columns=picture.columns[cut],
        )
