"""One call: every head as a picture in a grid, with one colour bar."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from attn_cli.reporters.figures.axis_names import AxisNames, number_names, token_names
from attn_cli.reporters.figures.grid import PAGE, SINK_GAP, Grid, Wanted, arrange
from attn_cli.reporters.figures.key import HEIGHT, draw_key
from attn_cli.reporters.figures.look import GREY, NORMAL, SMALL, Look
from attn_cli.reporters.figures.picture import Colours, HeadPicture, draw_picture, draw_sink
from attn_cli.reporters.figures.sheet import MARGIN, Sheet, line_height, wrapped
from attn_cli.reporters.figures.words import call_parts, key_metric, picture_parts
from attn_cli.results import CallResult

_MOST_PICTURES = 48
_MOST_PAGES = 3  # of height: matplotlib holds a sheet of pixels for each picture
_MOST_HEADS = 128  # of a batch item: more are no figure, and take minutes to draw
_BOLD = 1.13  # how much wider bold letters are
_SHORTEST = 3  # signs of a label that was cut; fewer say nothing
_LOWEST, _HIGHEST = 0.35, 1.6  # ratio of a picture's height to its width


def heads_figure(call: CallResult, look: Look, metric: str | None = None) -> Figure:
    """The heads of the first batch items, as many as a few pages take in.

    Args:
        call: what was inspected.
        look: width and letters.
        metric: the one in the titles; None takes the one that each head's label goes by.
    """
    return _Heads(call, look, metric).draw()


@dataclass(frozen=True)
class _Heads:
    call: CallResult
    look: Look
    metric: str | None

    def draw(self) -> Figure:
        pictures, grid = self._pictures(), arrange(self.look, self._wanted(self._batches))
        colours = Colours.of(max((one.largest for band in pictures for one in band), default=1.0))
        told = picture_parts(self.call, self._batches, self._heads)
        said = [*wrapped(self.look, [*call_parts(self.look, self.call), *told])]
        height = grid.total + HEIGHT + len(said) * line_height(SMALL) + 2 * MARGIN
        sheet = Sheet.of(self.look, height)
        for band, batch in enumerate(self._batches):
            self._draw_band(sheet, grid, band, batch, pictures[band], colours)
        every = [one for band in pictures for one in band]
        draw_key(sheet, grid.total, colours, every, "attention weight, on a square-root scale")
        sheet.caption(grid.total + HEIGHT + MARGIN, said)
        return sheet.figure

    @cached_property
    def _batches(self) -> range:
        index = self.call.inspection.index
        most = min(len(index.batch), max(1, _MOST_PICTURES // max(1, len(index.heads))))
        grid = arrange(self.look, self._wanted(range(most)))
        return range(min(most, max(1, int(_MOST_PAGES * PAGE / grid.band))))

    @property
    def _heads(self) -> range:
        return range(min(len(self.call.inspection.index.heads), _MOST_HEADS))

    def _pictures(self) -> list[list[HeadPicture]]:
        shown = self.call.inspection.pictures
        return [[HeadPicture.of(shown, batch, head) for head in self._heads] for batch in self._batches]

    def _wanted(self, batches: range) -> Wanted:
        inspection = self.call.inspection
        shown, index, heads = inspection.pictures, inspection.index, len(self._heads)
        rows, columns = shown.weights.shape[2:]
        ratio = rows * shown.query_pool / (columns * shown.key_pool)
        tokens = tuple(self._tokens(batches))
        return Wanted(
            bands=len(batches), heads=heads, rows=rows, columns=columns,
            ratio=1.0 if rows == columns else min(max(ratio, _LOWEST), _HIGHEST), has_sink=shown.sink is not None,
            numbers=number_names(self.call), tokens=tokens, has_titles=index.total_batch > 1,
        )  # fmt: skip

    def _tokens(self, batches: range) -> Iterator[tuple[AxisNames, AxisNames]]:
        for batch in batches:
            names = token_names(self.look, self.call, batch)
            if names is not None:
                yield names

    def _draw_band(
        self, sheet: Sheet, grid: Grid, band: int, batch: int, pictures: list[HeadPicture], colours: Colours
    ) -> None:
        if grid.wanted.has_titles:
            said = f"batch {self.call.inspection.index.batch[batch]}"
            sheet.text(grid.left, band * grid.band + MARGIN / 2, said, NORMAL, weight="bold")
        for place, picture in enumerate(pictures):
            left, top = grid.corner(band, place)
            axes = sheet.axes(left + grid.sink, top, grid.width, grid.height)
            draw_picture(axes, picture, colours, grid.cell)
            outer = axes
            if picture.sink is not None:
                outer = sheet.axes(left, top, grid.sink - SINK_GAP, grid.height)
                draw_sink(outer, picture, colours, grid.cell)
            self._name_axes(grid, band, place, axes, outer)
            self._title(sheet, grid, left, top, batch, place)

    def _name_axes(self, grid: Grid, band: int, place: int, axes: Axes, outer: Axes) -> None:
        """The names of rows and columns, at the outer sides of a band alone: all its heads have the same."""
        rows, columns = grid.wanted.tokens[band] if grid.with_tokens else grid.wanted.numbers
        if grid.is_first(place):
            rows.show(self.look, outer, "y")
            outer.set_ylabel("query")
        if grid.is_last(place):
            if not grid.with_tokens:
                columns = columns.thinned(self.look, grid.width / grid.wanted.columns)
            columns.show(self.look, axes, "x", upright=grid.with_tokens)
            axes.set_xlabel("key")
            if outer is not axes:
                outer.set_xticks([0], labels=["sink"], rotation=90)

    def _title(self, sheet: Sheet, grid: Grid, left: float, top: float, batch: int, head: int) -> None:
        letters, inspection = self.look.letters, self.call.inspection
        lower = top - 0.045
        if grid.has_subtitles:
            metric, value = key_metric(self.call, batch, head, self.metric)
            metric = letters.shortened(metric, SMALL, grid.panel - letters.width(f" {value}", SMALL))
            sheet.text(left, lower, f"{metric} {value}", SMALL, va="baseline", color=GREY)
            lower -= line_height(SMALL)
        name = f"head {inspection.index.heads[head]}"
        sheet.text(left, lower, name, NORMAL, va="baseline", weight="bold")
        behind = letters.width(name, NORMAL) * _BOLD + letters.width("a", NORMAL) / 2
        label = letters.shortened(f"· {inspection.labels[batch][head]}", NORMAL, max(0.0, grid.panel - behind))
        if len(label) > _SHORTEST:
            sheet.text(left + behind, lower, label, NORMAL, va="baseline")
