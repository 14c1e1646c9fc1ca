"""The options for what a command writes besides, declared once for every command that has them. Free of torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from attn_cli.commands.figure_options import FigureWidth, Pdf, Png, Svg, figures_asked_for
from attn_cli.commands.groups import Command, with_options
from attn_cli.commands.page_options import Html, HtmlBudget, page_asked_for
from attn_cli.commands.showing import Screenshot, check_screenshot
from attn_cli.reporters.figures import FigureRequest
from attn_cli.reporters.html import PageRequest

PAGE = ("html", "html_budget")
FIGURES = ("svg", "png", "pdf", "figure_width")


@dataclass(frozen=True)
class Outputs:
    """The files to write besides what is printed; None where one was not asked for."""

    figures: FigureRequest | None
    page: PageRequest | None
    screenshot: str | None


@dataclass(frozen=True)
class OutputOptions:
    """What was said of those files on the command line."""

    html: str | None
    html_budget: str | None
    svg: str | None
    png: str | None
    pdf: str | None
    figure_width: str | None
    screenshot: str | None

    def checked(self, instead: str | None, onto: Iterable[str | None], save: str | None = None) -> Outputs:
        """The files, refused before anything is computed where one cannot be written.

        Args:
            instead: the option that has something else printed than the report, such as ``--json``; None where none.
            onto: files that are read and must not be replaced.
            save: the file that ``--save`` names; the command itself checks it.

        Raises:
            UsageError: where a name promises another format, a file is one of those or another of the outputs, or
                something that is needed is missing.
            ResourceError: where a folder is missing or may not be written to.
        """
        onto = tuple(onto)
        figures = figures_asked_for(self.svg, self.png, self.pdf, self.figure_width, onto)
        page = page_asked_for(self.html, self.html_budget, onto)
        check_screenshot(self.screenshot, instead, onto)
        self._check_apart(save)
        return Outputs(figures, page, self.screenshot)

    def _check_apart(self, save: str | None) -> None:
        """Refuse two outputs with one place, whatever they are called."""
        from attn_cli.reporters.atomic import check_apart

        names = ("html", "svg", "png", "pdf", "screenshot")
        named = {"--save": save, **{f"--{name}": getattr(self, name) for name in names}}
        check_apart({option: path for option, path in named.items() if path is not None})


def _options(
    html: Html = None,
    html_budget: HtmlBudget = None,
    svg: Svg = None,
    png: Png = None,
    pdf: Pdf = None,
    figure_width: FigureWidth = None,
    screenshot: Screenshot = None,
) -> OutputOptions:
    return OutputOptions(html, html_budget, svg, png, pdf, figure_width, screenshot)


def writes_files(*, but: tuple[str, ...] = ()) -> Callable[[Command], Command]:
    """Give a command the options for a page, figures and a screenshot, as its argument ``outputs``.

    Args:
        but: options that the command does without.
    """
    return with_options("outputs", _options, but)
