"""What stands below pictures: the colour bar that all of them share, and what hatched and red cells are."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.patches import Patch

from attn_cli.reporters.figures.look import NORMAL, SMALL
from attn_cli.reporters.figures.picture import Colours, HeadPicture, hidden_patch, nan_patch
from attn_cli.reporters.figures.sheet import MARGIN, Sheet, line_height

HEIGHT = 0.44  # inches
_BAR, _LONGEST = 0.07, 2.4


def draw_key(sheet: Sheet, top: float, colours: Colours, pictures: Sequence[HeadPicture], said: str) -> None:
    """The colour bar on the left, the signs that are used beside it.

    Args:
        sheet: where to.
        top: inches.
        colours: of all pictures.
        pictures: all of them.
        said: what a colour stands for.
    """
    letters = sheet.look.letters
    length = min(_LONGEST, sheet.width * 0.5)
    sheet.text(MARGIN + 0.08, top, letters.shortened(said, NORMAL, sheet.width - 2 * MARGIN))
    axes = sheet.axes(MARGIN + 0.08, top + line_height(NORMAL) + 0.01, length, _BAR)
    bar = sheet.figure.colorbar(colours.scale, cax=axes, orientation="horizontal", ticks=colours.ticks)
    bar.ax.set_xticklabels([f"{tick:g}" for tick in colours.ticks])
    bar.ax.tick_params(labelsize=SMALL)
    bar.minorticks_off()
    signs: list[Patch] = []
    if any(picture.has_hidden for picture in pictures):
        signs.append(hidden_patch())
    if any(picture.has_nan for picture in pictures):
        signs.append(nan_patch())
    if signs:
        beside = (MARGIN + 0.08 + length + 0.2) / sheet.width
        where = (beside, 1 - (top + line_height(NORMAL) - 0.02) / sheet.height)
        sheet.figure.legend(handles=signs, loc="upper left", bbox_to_anchor=where, ncols=len(signs), borderaxespad=0)
