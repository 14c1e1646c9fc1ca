"""A benchmark as one page that opens anywhere and asks nothing of any other."""

from __future__ import annotations

from functools import cache

from attn_cli.benchmark.types import BenchReport
from attn_cli.reporters.html import DEFAULT_BUDGET, WrittenPage, put
from attn_cli.reporters.html.bench.payload import bench_payload, bench_title
from attn_cli.reporters.html.fitting import most_that_fits, too_large
from attn_cli.reporters.html.page import Parts, assemble, parts_of
from attn_cli.reporters.html.texts import made_harmless

MOST_SAMPLES = (None, 1000, 500, 200, 100, 50, 25, 12)  # of a result, until the page fits


@cache
def bench_parts() -> Parts:
    """Template, style and script: the style of every page with what this one adds."""
    return parts_of("bench/template.html", ("page.css", "bench/bench.css"), "bench/script/order.txt")


def write_bench_page(report: BenchReport, path: str, budget: int = DEFAULT_BUDGET) -> WrittenPage:
    """Write the page of a benchmark; it appears whole or not at all.

    Args:
        report: whole, or what there was when it was interrupted.
        path: the file to write or to replace.
        budget: bytes that it may have. Samples are thinned until it fits, which the page says; where even the fewest
            do not, it is larger.

    Raises:
        ResourceError: where the file cannot be written.
    """
    title, parts = made_harmless(bench_title(report)), bench_parts()
    data, fits = most_that_fits(
        lambda most: assemble(bench_payload(report, most), title, parts).encode(), MOST_SAMPLES, budget
    )
    warning = too_large(f"with {MOST_SAMPLES[-1]} samples a result it still takes", len(data), budget)
    return put(data, path, None if fits else warning)
