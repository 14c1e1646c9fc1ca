"""What a page is drawn on: the console's width and abilities, and the few ways to put text on it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console
from rich.style import Style
from rich.text import Text

from attn_cli.reporters.terminal.palette import RAMPS, Ramp
from attn_cli.reporters.terminal.text import bounded, harmless, shorten

MIN_WIDTH = 20


@dataclass(frozen=True)
class Canvas:
    """A console and what it can show.

    Attributes:
        console: where lines go.
        width: no line is wider.
        unicode: False where the stream's encoding has ASCII alone.
        ramp: the colours of the weights, where there are at least 256; with fewer, shading says more than colour.
    """

    console: Console
    width: int
    unicode: bool
    ramp: Ramp | None

    @classmethod
    def on(cls, console: Console) -> Canvas:
        """A canvas as wide as ``console``, 20 columns at least."""
        ramp = None if console.no_color else RAMPS.get(console.color_system or "")
        return cls(console, max(console.width, MIN_WIDTH), not console.options.ascii_only, ramp)

    def text(self, value: object, style: str | Style = "", limit: int | None = None) -> Text:
        """``value`` as harmless text, never as markup, in at most ``limit`` cells. All text comes through here."""
        shown = harmless(bounded(str(value)), ascii_only=not self.unicode)
        if limit is not None:
            shown = shorten(shown, limit, "…" if self.unicode else "~")
        return Text(shown, style=style, no_wrap=True, end="")

    def join(self, parts: Iterable[Text | str], separator: str = " ") -> Text:
        """The parts in one line, those that are empty left out; the separator is dim."""
        between = self.text(separator if self.unicode else separator.replace("·", "|"), "dim")
        joined = self.text("")
        for part in parts:
            text = part if isinstance(part, Text) else self.text(part)
            if joined.plain and text.plain:
                joined.append_text(between)
            joined.append_text(text)
        return joined

    def line(self, *parts: Text | str) -> None:
        """Print one line; what would be wider than the canvas is shortened."""
        line = self.text("")
        for part in parts:
            line.append_text(part if isinstance(part, Text) else self.text(part))
        if self.console.color_system is None or self.console.no_color or not _ends_in_background(line):
            line.rstrip()
        self.console.print(self.fit(line, self.width), soft_wrap=True, end="\n")

    def fit(self, text: Text, width: int) -> Text:
        """``text`` in at most ``width`` cells, shortened where it was longer."""
        if text.cell_len <= width:
            return text
        cut = text.copy()
        cut.truncate(max(0, width - 1), overflow="crop")
        return cut.append("…" if self.unicode else "~")

    def heading(self, title: str, note: Text | str = "") -> None:
        """An empty line, then a section's title and what is to be said beside it."""
        self.line()
        note = note if isinstance(note, Text) else self.text(note, "dim")
        self.paragraph(self.join([self.text(title, "bold"), note], "  "), hanging=2)

    def paragraph(self, text: Text | str, indent: int = 0, hanging: int = 0) -> None:
        """Print text, wrapped; the lines behind the first are indented by ``hanging`` more."""
        text = text if isinstance(text, Text) else self.text(text)
        first, rest = self._cut(text, self.width - indent)
        self.line(" " * indent, first)
        if rest is not None:
            for line in rest.wrap(self.console, self.width - indent - hanging, overflow="fold", no_wrap=False):
                self.line(" " * (indent + hanging), line)

    def _cut(self, text: Text, width: int) -> tuple[Text, Text | None]:
        """The first line of wrapped text, and what is left."""
        if text.cell_len <= width:
            return text, None
        first = text.wrap(self.console, width, overflow="fold", no_wrap=False)[0]
        rest = text[len(first.plain) :]
        spaces = len(rest.plain) - len(rest.plain.lstrip(" "))
        return first, rest[spaces:] if spaces < len(rest.plain) else None

    def flow(self, items: Sequence[Text], indent: int = 2, gap: int = 3) -> None:
        """Print short items down as many columns as fit, each column read from top to bottom."""
        if not items:
            return
        widest = max(item.cell_len for item in items)
        across = max(1, min(len(items), (self.width - indent + gap) // (widest + gap)))
        down = -(-len(items) // across)
        for row in range(down):
            if across == 1:
                self.paragraph(items[row], indent, hanging=2)
            else:
                self.line(" " * indent, *(padded(item, widest + gap) for item in items[row::down]))


def padded(text: Text, width: int, right: bool = False) -> Text:
    """A copy of ``text`` that fills ``width`` cells."""
    filled = text.copy()
    missing = max(0, width - cell_len(text.plain))
    filled.pad_left(missing) if right else filled.pad_right(missing)
    return filled


def _ends_in_background(line: Text) -> bool:
    """Whether the spaces at the end, where there are any, carry a colour."""
    kept = len(line.plain.rstrip(" "))
    styles = (span.style for span in line.spans if span.end > kept)
    return any((Style.parse(style) if isinstance(style, str) else style).bgcolor is not None for style in styles)
