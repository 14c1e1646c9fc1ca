"""``attn bench``: time attention backends side by side, each checked against float64."""

from __future__ import annotations

import math

from attn_cli.commands import options as opt
from attn_cli.commands.imports import for_good
from attn_cli.commands.parsing import parse_names, parse_share, parse_sizes
from attn_cli.commands.writing import OutputOptions, writes_files
from attn_cli.errors import UsageError
from attn_cli.inputs.paths import check_regular

# In the registry's order; flash-attn and xFormers are timed where they are installed.
BACKENDS = (
    "textbook",
    "sdpa",
    "flash",
    "efficient",
    "cudnn",
    "math",
    "flex",
    "inspect",
    "flash-attn",
    "xformers",
)
DTYPES = tuple(dtype.value for dtype in opt.Dtype)


@writes_files()
def bench(
    *,
    seq: opt.BenchSeq = None,
    queries: opt.BenchQueries = None,
    batch: opt.BenchBatch = None,
    heads: opt.BenchHeads = None,
    kv_heads: opt.BenchKvHeads = None,
    head_dim: opt.BenchHeadDim = None,
    dtype: opt.BenchDtype = None,
    causal: opt.BenchCausal = None,
    mode: opt.BenchMode = opt.ModeName.forward,
    device: opt.BenchDevice = "auto",
    backend: opt.BenchBackends = "all",
    min_time: opt.MinTime = None,
    baseline: opt.Baseline = None,
    fail_on_regression: opt.FailOnRegression = None,
    json_output: opt.Json = False,
    csv: opt.BenchCsv = False,
    markdown: opt.BenchMarkdown = False,
    save: opt.BenchSave = None,
    outputs: OutputOptions,
) -> int:
    """Time attention backends side by side, each output compared with float64 before it is timed.

    Lists, such as --seq 512,1024,2048, are run in every combination. The report says how near each backend comes to
    what this device reaches, and how time and memory grow.
    """
    form = _form(json_output, csv, markdown)
    margin = parse_share("--fail-on-regression", fail_on_regression)
    _check_time(min_time)
    _check_files(baseline, save, margin)
    out = outputs.checked(None if form == "table" else f"--{form}", (baseline,), save)
    sizes = {
        "seq": parse_sizes("--seq", seq), "queries": parse_sizes("--queries", queries),
        "batch": parse_sizes("--batch", batch), "heads": parse_sizes("--heads", heads),
        "kv_heads": parse_sizes("--kv-heads", kv_heads), "head_dim": parse_sizes("--head-dim", head_dim),
    }  # fmt: skip
    dtypes = parse_names("--dtype", dtype, DTYPES)
    backends = None if backend == "all" else parse_names("--backend", backend, BACKENDS)
    with for_good():
        from attn_cli.commands.benching import BenchRequest, run_request

    request = BenchRequest(
        **sizes, dtypes=dtypes, causal=causal, mode=mode.value, device=device, backends=backends,
        min_time=min_time, baseline=baseline, margin=margin, form=form, save=save, figures=out.figures,
        page=out.page, screenshot=out.screenshot,
    )  # fmt: skip
    return run_request(request)


def _form(json_output: bool, csv: bool, markdown: bool) -> opt.Form:
    """What stdout holds, of which there can be one."""
    asked: dict[opt.Form, bool] = {"json": json_output, "csv": csv, "markdown": markdown}
    chosen = [form for form, is_asked in asked.items() if is_asked]
    if len(chosen) > 1:
        flags = " and ".join(f"--{form}" for form in chosen)
        raise UsageError(f"found {flags}; expected one of them", "--save FILE writes the JSON beside what is printed")
    return chosen[0] if chosen else "table"


def _check_time(min_time: float | None) -> None:
    if min_time is not None and not (math.isfinite(min_time) and 0 < min_time <= opt.LONGEST_SECONDS):
        raise UsageError(f"--min-time {min_time}: expected seconds above 0, at most {opt.LONGEST_SECONDS:g}")


def _check_files(baseline: str | None, save: str | None, margin: float | None) -> None:
    """Refuse files that cannot serve, before anything is measured."""
    if margin is not None and baseline is None:
        raise UsageError("--fail-on-regression: there is nothing to compare with; expected --baseline FILE too")
    if baseline is not None:
        check_regular(baseline, "expected a file that attn bench --save has written")
    if save is not None:
        from attn_cli.reporters.atomic import check_output

        is_written = "it is written as JSON; expected a name such as out.json"
        check_output("--save", save, (".csv", ".md", ".html", ".svg", ".png", ".pdf"), is_written, (baseline,))
