"""What is drawn of a run: the heads of one call, or the layers and metrics of several."""

from __future__ import annotations

from matplotlib.figure import Figure

from attn_cli.reporters.figures.heads import heads_figure
from attn_cli.reporters.figures.layers import layers_figure
from attn_cli.reporters.figures.look import Look
from attn_cli.results import RunResult


def run_figure(result: RunResult, look: Look) -> Figure:
    """The figure of a run.

    Args:
        result: at least one call.
        look: width and letters.
    """
    if len(result.calls) == 1:
        return heads_figure(result.calls[0], look, result.metric)
    return layers_figure(result, look)
