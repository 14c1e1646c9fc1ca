"""Pages of benchmarks for tests."""

from __future__ import annotations

from dataclasses import replace

from attn_cli.benchmark.types import BenchReport, Lost, Warned
from attn_cli.reporters.html.bench import write_bench_page
from tests.reporters.bench_results import FULL, failed
from tests.reporters.html.pages import Page

HOSTILE = (
    "</script><script>document.title='ran'</script>",
    "<img src=x onerror=\"document.title='ran'\">",
    "\u202eevil\u202c\x1b[31m\x00",
    "__SCRIPT__ ]]>&lt;b&gt; \u2028",
)


def written(tmp_path, report, **options):
    """The page of a report as a parser reads it, its warning and its bytes."""
    path = tmp_path / "bench.html"
    done = write_bench_page(report, str(path), **options)
    data = path.read_bytes()
    assert done.size == len(data)
    return Page(data.decode()), done.warning, data


def report_saying(texts) -> BenchReport:
    """A report with these four texts wherever text comes from elsewhere: the machine, errors, a baseline's file."""
    first, second, third, fourth = texts
    comparison = FULL.comparison
    assert comparison is not None
    lost = Lost("flex", comparison.lost[0].case, "failed", second)
    results = (*FULL.results[:3], replace(failed("xformers"), reason=first), replace(FULL.results[1], kernel=third))
    return replace(
        FULL,
        environment={**FULL.environment, "device_name": first, "driver": second, "governor": third, "more": fourth},
        results=results,
        warnings=(Warned(third, fourth), *FULL.warnings),
        comparison=replace(comparison, file=f"old {fourth}.json", notes=(first, second, third), lost=(lost,)),
    )
