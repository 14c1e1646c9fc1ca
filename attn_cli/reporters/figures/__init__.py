"""Figures for a paper, drawn by matplotlib, which is imported when the first one is drawn and never before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attn_cli.reporters.figures.request import DOUBLE, SINGLE, FigureFile, FigureRequest

if TYPE_CHECKING:
    from attn_cli.benchmark.types import BenchReport
    from attn_cli.results import RunResult

__all__ = ["DOUBLE", "SINGLE", "FigureFile", "FigureRequest", "write_bench_figures", "write_run_figures"]


def write_run_figures(result: RunResult, request: FigureRequest) -> None:
    """Write the heads of one call, or the layers and metrics of several.

    Args:
        result: at least one call.
        request: which files, and how wide.

    Raises:
        ResourceError: where a file cannot be written; none of it is there then.
    """
    from attn_cli.reporters.figures.files import write
    from attn_cli.reporters.figures.run import run_figure

    for file in request.files:
        write(lambda look: run_figure(result, look), file, request)


def write_bench_figures(report: BenchReport, request: FigureRequest) -> None:
    """Write the growth of time and memory, and the roofline.

    Raises:
        ResourceError: where nothing was timed, or a file cannot be written; none of it is there then.
    """
    from attn_cli.reporters.figures.bench import bench_figure
    from attn_cli.reporters.figures.files import write

    for file in request.files:
        write(lambda look: bench_figure(report, look), file, request)
