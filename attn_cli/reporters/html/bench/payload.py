"""What the page of a benchmark holds: the numbers of ``attn bench --json``, and what is said of them.

``attn.bench-page/1``: each of ``results`` is an entry of ``attn.bench/1`` without its formulas, which stand once for
each mode in ``formulas``; its ``ms`` has the ``quartiles``, ``max`` and ``count`` of all samples, and of these every
``every``-th.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

from attn_cli import __version__
from attn_cli.benchmark.types import BYTES_FORMULA, FLOPS_FORMULA, BenchReport, BenchResult, Growth, Summary
from attn_cli.reporters.bench_data import bench_data
from attn_cli.reporters.html.texts import made_harmless
from attn_cli.reporters.terminal.bench import environment_value, existing_settings
from attn_cli.reporters.terminal.bench_growth import settings_of

FORMAT = "attn.bench-page/1"
_UNITS = ("_bytes", "_mhz", "_watts")  # the value says them
_FORMULAE = ("flops_formula", "bytes_formula")


def bench_title(report: BenchReport) -> str:
    """Where it was measured, and the command."""
    known = report.environment
    return f"{known.get('device_name') or known.get('device') or 'unknown device'} · attn bench"


def bench_payload(report: BenchReport, most: int | None = None) -> dict[str, Any]:
    """All of a benchmark, texts harmless and None for each number that is not finite.

    Args:
        report: whole, or what there was when it was interrupted.
        most: samples of each result that may be in it; None is all.
    """
    data = bench_data(report)
    for entry, result in zip(data["results"], report.results, strict=True):
        for formula in _FORMULAE:
            del entry[formula]
        entry["is_quick"] = result.is_quick
        if result.ms is not None:
            entry["ms"] |= _samples(result.ms, most)
    for told, growth in zip(data["growth"], report.growth, strict=True):
        told |= {"settings": list(settings_of(growth)), "too_long": _too_long(growth, report)}
    if data["comparison"] is not None:
        data["comparison"]["file"] = os.path.basename(data["comparison"]["file"])  # a page travels, its folders do not
    modes = dict.fromkeys(result.case.mode for result in report.results)
    words = {
        "format": FORMAT, "version": __version__, "title": bench_title(report), "environment": _environment(report),
        "formulas": {mode: {"flops": FLOPS_FORMULA[mode], "bytes": BYTES_FORMULA[mode]} for mode in modes},
    }  # fmt: skip
    payload: dict[str, Any] = made_harmless({**data, **words})
    return payload


def _environment(report: BenchReport) -> list[dict[str, Any]]:
    there = existing_settings(report.environment)
    return [{"key": key, "name": _name(key), "text": environment_value(key, value)} for key, value in there.items()]


def _name(key: str) -> str:
    suffix = next((suffix for suffix in _UNITS if key.endswith(suffix)), "")
    return key.removesuffix(suffix).replace("_", " ")


def _samples(ms: Summary, most: int | None) -> dict[str, Any]:
    """Every sample or every n-th, in the order they were taken; what sums them up is of all."""
    count = len(ms.samples)
    every = 1 if most is None else -(-count // most)
    samples = list(ms.samples[::every])
    return {"quartiles": ms.quartiles, "max": ms.max, "count": count, "every": every, "samples": samples}


def _too_long(growth: Growth, report: BenchReport) -> list[dict[str, Any]]:
    """The first length that was foreseen not to fit into memory, and why; nothing where all did."""
    skipped = [one for one in report.results if one.status == "skipped" and _continues(growth, one)]
    first = sorted(skipped, key=lambda one: one.case.keys)[:1]
    return [{"keys": one.case.keys, "reason": one.reason} for one in first]


def _continues(growth: Growth, result: BenchResult) -> bool:
    """Whether a result would be a later point of a series."""
    case = result.case
    if result.backend != growth.backend or case.keys <= growth.case.keys:
        return False
    if growth.queries_grow and case.queries != case.keys:
        return False
    return settings_of(replace(growth, case=case)) == settings_of(growth)
