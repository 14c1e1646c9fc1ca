"""Text in figures: harmless, with every sign that can be drawn, and measured."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from matplotlib import font_manager
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.font_manager import FontProperties
from matplotlib.ft2font import FT2Font

from attn_cli.reporters.figures.request import Format
from attn_cli.reporters.terminal.text import bounded, harmless, token_text

POINTS = 72.0
OWN_FONT = "DejaVu Sans"  # matplotlib brings it along
# With the scripts that it lacks; those that are installed are used, in this order.
OTHER_FONTS = (
    "Noto Sans CJK JP", "Noto Sans CJK SC", "Noto Sans JP", "Noto Sans SC", "Noto Sans KR", "Source Han Sans",
    "Hiragino Sans", "PingFang SC", "Apple SD Gothic Neo", "Yu Gothic", "Microsoft YaHei", "Malgun Gothic",
    "WenQuanYi Zen Hei", "Noto Sans Devanagari", "Noto Sans Thai", "Noto Sans Symbols2", "Arial Unicode MS", "Unifont",
)  # fmt: skip


@dataclass(frozen=True)
class Letters:
    """What text looks like in one format.

    Attributes:
        is_drawn: True where the file holds the letters' shapes; else it holds the text, and the reader's fonts show it.
    """

    is_drawn: bool

    @classmethod
    def of(cls, wanted: Format) -> Letters:
        """Of a format: SVG keeps text as text."""
        return cls(wanted != "svg")

    def text(self, value: object) -> str:
        r"""Any text with nothing in it but visible signs; one that no font here has is written out, as ``\u4e2d``."""
        shown = harmless(bounded(str(value)))
        if not self.is_drawn or shown.isascii():
            return shown
        return "".join(sign if _is_in_a_font(sign) else _escaped(sign) for sign in shown)

    def token(self, value: str) -> str:
        """A token with its spaces visible."""
        return self.text(token_text(value))

    def families(self, value: str) -> list[str]:
        """The fonts that a text needs, ours first."""
        if not self.is_drawn or all(_has(OWN_FONT, sign) for sign in value):
            return ["sans-serif"]
        return [OWN_FONT, *(name for name in _installed() if any(_has(name, sign) for sign in value))]

    def width(self, value: str, size: float) -> float:
        """Inches that a text takes in a line of so many points."""
        return _width(value, tuple(self.families(value)), size)

    def shortened(self, value: str, size: float, room: float) -> str:
        """The text cut so that it takes so many inches at most; what was taken off its end is told by ``…``."""
        if self.width(value, size) <= room:
            return value
        low, high = 0, len(value)
        while low < high:  # the most signs that fit
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.width(value[:middle] + "…", size) <= room else (low, middle - 1)
        return value[:low] + "…"


def _escaped(sign: str) -> str:
    return f"\\u{ord(sign):04x}" if ord(sign) <= 0xFFFF else f"\\U{ord(sign):08x}"


@cache
def _is_in_a_font(sign: str) -> bool:
    return any(_has(name, sign) for name in (OWN_FONT, *_installed()))


@cache
def _installed() -> tuple[str, ...]:
    there = {font.name for font in font_manager.fontManager.ttflist}
    return tuple(name for name in OTHER_FONTS if name in there)


@cache
def _has(name: str, sign: str) -> bool:
    return _font(name).get_char_index(ord(sign)) != 0


@cache
def _font(name: str) -> FT2Font:
    return FT2Font(font_manager.findfont(FontProperties(family=name)))


@cache
def _width(value: str, families: tuple[str, ...], size: float) -> float:
    font = FontProperties(family=list(families), size=size)
    width, _, _ = _renderer().get_text_width_height_descent(value, font, ismath=False)
    return float(width) / POINTS


@cache
def _renderer() -> Any:
    renderer: Any = RendererAgg  # matplotlib leaves it untyped
    return renderer(1, 1, POINTS)
