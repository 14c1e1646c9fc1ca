"""Several calls: every head of every layer as a small picture, and metrics over the layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from attn_cli.reporters.figures.curves import Curves, draw_curves
from attn_cli.reporters.figures.key import HEIGHT, draw_key
from attn_cli.reporters.figures.look import NORMAL, POINTS, SMALL, Look
from attn_cli.reporters.figures.picture import Colours, HeadPicture, draw_picture
from attn_cli.reporters.figures.sheet import MARGIN, Sheet, line_height, wrapped
from attn_cli.reporters.figures.words import call_parts
from attn_cli.reporters.terminal.overview_lines import Lines
from attn_cli.reporters.terminal.text import count
from attn_cli.results import ModuleResult, RunResult

_METRICS = ("entropy", "attention_distance", "previous_score", "sink_score")
_GAP = 0.04
_LARGEST, _SMALLEST, _HIGHEST = 0.8, 0.15, 6.5  # inches of a small picture, and of all of them
_NAME = 0.9


def layers_figure(result: RunResult, look: Look) -> Figure:
    """Layers × heads as small pictures where a page takes them in, and curves of metrics below."""
    return _Layers(result, look, Lines(result)).draw()


@dataclass(frozen=True)
class _Thumbnails:
    """The small pictures: ``pictures[line]`` by head number; ``side`` inches each, ``left`` for the layers' names."""

    pictures: Sequence[dict[int, HeadPicture]]
    heads: Sequence[int]
    side: float
    left: float

    @property
    def height(self) -> float:
        """Of all of them, with the numbers of the heads above and the colour bar below."""
        names = 2 * line_height(NORMAL) + 0.05
        return names + len(self.pictures) * (self.side + _GAP) + 0.06 + HEIGHT + 0.08


@dataclass(frozen=True)
class _Layers:
    result: RunResult
    look: Look
    lines: Lines

    def draw(self) -> Figure:
        thumbnails, curves, said = self._thumbnails(), self._curves(), self._said()
        above = 0.0 if thumbnails is None else thumbnails.height
        height = above + curves.height + len(said) * line_height(SMALL) + 2 * MARGIN
        sheet = Sheet.of(self.look, height)
        if thumbnails is not None:
            self._draw_thumbnails(sheet, thumbnails)
        draw_curves(sheet, above, curves)
        sheet.caption(above + curves.height + MARGIN, said)
        return sheet.figure

    @property
    def _what(self) -> str:
        return "step" if self.lines.are_steps else "layer"

    def _names(self) -> list[str]:
        letters = self.look.letters
        return [letters.shortened(letters.text(name), SMALL, _NAME) for name in self.lines.names]

    def _curves(self) -> Curves:
        metrics = _METRICS if self.result.metric is None else (self.result.metric,)
        heads = [module.heads for module in self.lines.modules]
        return Curves(self.look, metrics, self._names(), self._what, heads, same_heads=self.lines.are_steps)

    def _thumbnails(self) -> _Thumbnails | None:
        """None where they would be too small to tell anything."""
        modules = self.lines.modules
        heads = sorted({head for module in modules for head in module.largest.inspection.index.heads})
        left = MARGIN + line_height(NORMAL) + 0.04 + max(self.look.letters.width(one, SMALL) for one in self._names())
        across = (self.look.width - left - MARGIN + _GAP) / max(1, len(heads)) - _GAP
        side = min(across, _LARGEST, _HIGHEST / len(modules) - _GAP)
        if side < _SMALLEST or any(not module.largest.inspection.index.heads for module in modules):
            return None
        return _Thumbnails([_pictures_of(module) for module in modules], heads, side, left)

    def _draw_thumbnails(self, sheet: Sheet, shown: _Thumbnails) -> None:
        """The heads as columns, the layers as lines."""
        every = [one for line in shown.pictures for one in line.values()]
        colours = Colours.of(max((one.largest for one in every), default=1.0))
        top, pitch, names = 2 * line_height(NORMAL) + 0.05, shown.side + _GAP, self._names()
        for column, head in enumerate(shown.heads):
            middle = shown.left + column * pitch + shown.side / 2
            sheet.text(middle, top - 0.03, str(head), SMALL, ha="center", va="baseline")
        middle = shown.left + (len(shown.heads) * pitch - _GAP) / 2
        sheet.text(middle, MARGIN / 2, "head", ha="center")
        high = top + (len(shown.pictures) * pitch - _GAP) / 2
        sheet.text(MARGIN, high, self._what, ha="left", va="center", rotation=90)
        for line, pictures in enumerate(shown.pictures):
            upper = top + line * pitch
            sheet.text(shown.left - 0.04, upper + shown.side / 2, names[line], SMALL, ha="right", va="center")
            for column, head in enumerate(shown.heads):
                if head in pictures:
                    axes = sheet.axes(shown.left + column * pitch, upper, shown.side, shown.side)
                    cells = pictures[head].weights.shape
                    draw_picture(axes, pictures[head], colours, shown.side * POINTS / max(cells))
        draw_key(sheet, shown.height - HEIGHT - 0.08, colours, every, "attention weight, on a square-root scale")

    def _said(self) -> list[str]:
        """One line for the file, one for what pictures and points stand for."""
        first = self.result.calls[0]
        origin = next(call_parts(self.look, first))
        heads = sum(len(module.heads) for module in self.lines.modules)
        parts = [origin, f"{count(len(self.lines.modules), self._what)}, {count(heads, 'head')} in all"]
        batch = first.inspection.index.batch
        if self.lines.over:
            parts.append(f"metrics are plain means over {self.lines.over}")
        if self._thumbnails() is not None:
            shown = [module.largest.inspection.pictures for module in self.lines.modules]
            pooled = max(one.query_pool * one.key_pool for one in shown)
            how = f", max-pooled: a cell is the largest of up to {pooled} weights" if pooled > 1 else ""
            parts.append(f"pictures of batch {batch[0]}{how}")
        return wrapped(self.look, parts)


def _pictures_of(module: ModuleResult) -> dict[int, HeadPicture]:
    """The first batch item of the call with most query rows, by head number."""
    inspection = module.largest.inspection
    heads = enumerate(inspection.index.heads)
    return {number: HeadPicture.of(inspection.pictures, 0, place) for place, number in heads}
