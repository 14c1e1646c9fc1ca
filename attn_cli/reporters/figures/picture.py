"""One head as a picture on axes: its weights in colours, hidden cells hatched, NaN red and crossed out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, PowerNorm
from matplotlib.patches import Patch
from numpy.typing import NDArray

from attn_cli.inspection.types import Pictures
from attn_cli.reporters.figures.look import HATCH, HIDDEN, NAN, weights_map

_HATCHES = "//////"
_MOST_CROSSES = 400
_TOPS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
Cells = NDArray[np.float32]


@dataclass(frozen=True)
class HeadPicture:
    """The cells of one head.

    Attributes:
        weights: ``(R, C)``, NaN where a weight is.
        visible: bool, ``(R, C)``.
        sink: ``(R,)`` or None.
    """

    weights: Cells
    visible: NDArray[np.bool_]
    sink: Cells | None

    @classmethod
    def of(cls, pictures: Pictures, batch: int, head: int) -> HeadPicture:
        """The picture of one head; both numbers are positions in the selection."""
        visible = pictures.visible[min(batch, len(pictures.visible) - 1)]
        sink = None if pictures.sink is None else pictures.sink[batch, head].numpy()
        shown = visible[min(head, len(visible) - 1)].numpy()
        return cls(pictures.weights[batch, head].numpy(), shown, sink)

    @property
    def has_hidden(self) -> bool:
        """Whether a cell has no visible key."""
        return not bool(self.visible.all())

    @property
    def has_nan(self) -> bool:
        """Whether a visible weight is NaN, or a sink's."""
        of_sink = self.sink is not None and bool(np.isnan(self.sink).any())
        return of_sink or bool(np.isnan(self.weights[self.visible]).any())

    @property
    def largest(self) -> float:
        """The largest weight, the sink's among them; 0 where there is none."""
        shown = self.weights[self.visible]
        every = shown if self.sink is None else np.concatenate([shown, self.sink])
        known = every[np.isfinite(every)]
        return float(known.max()) if known.size else 0.0


@dataclass(frozen=True)
class Colours:
    """The colours that all pictures of a figure share, from weight 0 to ``top``, by the weight's square root."""

    top: float

    @classmethod
    def of(cls, largest: float) -> Colours:
        """Up to the next round number, so that figures of like calls have like colours."""
        return cls(next((top for top in _TOPS if largest <= top), 1.0))

    @property
    def norm(self) -> PowerNorm:
        """Weights to shares of the colours."""
        return PowerNorm(0.5, 0.0, self.top)

    @property
    def scale(self) -> ScalarMappable:
        """Weights to colours."""
        return ScalarMappable(self.norm, weights_map())

    @property
    def ticks(self) -> list[float]:
        """Weights to name beside the colours."""
        return [share * self.top for share in (0.0, 0.01, 0.1, 0.3, 0.6, 1.0)]


def draw_picture(axes: Axes, picture: HeadPicture, colours: Colours, cell: float) -> None:
    """The weights of a head; the axes' rows go down, cell (0, 0) is around (0, 0).

    Args:
        axes: empty.
        picture: what to draw.
        colours: of all pictures.
        cell: points of a cell's shorter side.
    """
    if picture.has_hidden:
        axes.patch.set(facecolor=HIDDEN, hatch=_HATCHES, edgecolor=HATCH, linewidth=0)
    _draw(axes, np.ma.masked_where(~picture.visible, picture.weights), colours, cell)


def draw_sink(axes: Axes, picture: HeadPicture, colours: Colours, cell: float) -> None:
    """The sink's weight of each row, as a column of its own."""
    assert picture.sink is not None  # asked for only where there are sinks
    _draw(axes, np.ma.masked_array(picture.sink[:, None]), colours, cell)


def _draw(axes: Axes, weights: Any, colours: Colours, cell: float) -> None:
    shown = np.ma.masked_invalid(weights)
    # Nearest: a cell keeps its edges and its colour at any size.
    axes.imshow(shown, cmap=weights_map(), norm=colours.norm, interpolation="nearest", aspect="auto")
    broken = np.isnan(weights.filled(0.0))
    if broken.any():
        red = np.ma.masked_where(~broken, np.ones_like(broken, dtype=np.float32))
        axes.imshow(red, cmap=ListedColormap([NAN]), interpolation="nearest", aspect="auto")
        rows, columns = np.nonzero(broken)
        if len(rows) <= _MOST_CROSSES and cell >= 2:
            style: dict[str, Any] = {"color": "white", "markersize": min(4.0, 0.6 * cell), "markeredgewidth": 0.5}
            axes.plot(columns, rows, "x", **style)
    axes.set(xlim=(-0.5, weights.shape[1] - 0.5), ylim=(weights.shape[0] - 0.5, -0.5), xticks=[], yticks=[])


def hidden_patch() -> Patch:
    """For a legend."""
    return Patch(facecolor=HIDDEN, hatch=_HATCHES, edgecolor=HATCH, linewidth=0, label="no visible key")


def nan_patch() -> Patch:
    """For a legend."""
    return Patch(facecolor=NAN, linewidth=0, label="NaN")
