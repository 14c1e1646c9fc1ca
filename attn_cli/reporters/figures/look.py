"""What all figures look like: sizes, colours and fonts, and how matplotlib is kept to them."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import matplotlib.style
from matplotlib.colors import Colormap
from matplotlib.figure import Figure

from attn_cli.reporters.figures.letters import Letters
from attn_cli.reporters.figures.request import Format

POINTS = 72.0  # of an inch
SMALL, NORMAL, LARGE = 5.5, 6.5, 7.5  # points; journals ask for 5 to 7 at least
GREY, DARK = "#6b6b6b", "#262626"
HIDDEN, HATCH = "#ececec", "#b0b0b0"
NAN = "#e00000"
# Okabe and Ito's colours, which colour-blind readers can tell apart; each comes with a mark of its own.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b8860b", "#56b4e9", "#875acd", "#757575", "#c83ca0", "#328732")
MARKS = "os^DvPX<>h"
STYLE = {
    "axes.edgecolor": DARK,
    "axes.labelcolor": DARK,
    "axes.labelpad": 2.0,
    "axes.labelsize": NORMAL,
    "axes.linewidth": 0.5,
    "axes.titlelocation": "left",
    "axes.titlepad": 3.0,
    "axes.titlesize": NORMAL,
    "font.family": ["sans-serif"],
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": NORMAL,
    "hatch.linewidth": 0.4,
    "legend.fontsize": SMALL,
    "legend.frameon": False,
    "legend.handlelength": 1.6,
    "legend.labelspacing": 0.25,
    "legend.borderpad": 0.1,
    "lines.linewidth": 1.0,
    "lines.markersize": 3.0,
    "pdf.fonttype": 42,  # the font itself is in the file, which journals ask for
    "svg.fonttype": "none",  # text stays text: it can be searched, and set in the paper's own font
    "svg.hashsalt": "attn",
    "text.color": DARK,
    "text.parse_math": False,  # a token with dollar signs is no formula
    "xtick.color": DARK,
    "xtick.labelsize": SMALL,
    "xtick.major.pad": 1.5,
    "xtick.major.size": 1.8,
    "xtick.major.width": 0.5,
    "xtick.minor.size": 1.0,
    "xtick.minor.width": 0.3,
    "ytick.color": DARK,
    "ytick.labelsize": SMALL,
    "ytick.major.pad": 1.5,
    "ytick.major.size": 1.8,
    "ytick.major.width": 0.5,
    "ytick.minor.size": 1.0,
    "ytick.minor.width": 0.3,
}


@dataclass(frozen=True)
class Look:
    """How one figure is drawn.

    Attributes:
        width: inches.
        letters: what text can be shown in this format, and how much room it takes.
    """

    width: float
    letters: Letters

    def figure(self, height: float) -> Figure:
        """An empty figure of this width and so many inches of height."""
        return Figure(figsize=(self.width, height), dpi=POINTS)


def weights_map() -> Colormap:
    """Viridis: colour-blind readers see its steps, and so does print without colour. Hidden cells are clear."""
    return matplotlib.colormaps["viridis"].with_extremes(bad=(0, 0, 0, 0))


@contextmanager
def our_style(wanted: Format, width: float) -> Iterator[Look]:
    """Draw by our settings alone: not those of a program around us, nor of a file in the user's home.

    Nothing of pyplot is used and every setting is given back, so a program that draws figures of its own sees no
    change.
    """
    logger = logging.getLogger("matplotlib")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), matplotlib.style.context(["default", STYLE]):
            # In an SVG the reader's fonts have the signs that ours lacks.
            warnings.filterwarnings("ignore", message=r"Glyph .* missing from", category=UserWarning)
            yield Look(width, Letters.of(wanted))
    finally:
        logger.setLevel(level)
