"""The page that tells a run's figures, made of its summary."""

from typing import Any

INTRODUCTION = """\
# What fuzzing tried

`make fuzz SUMMARY=docs/benchmarks/fuzz.json` wrote this page and [the figures](fuzz.json). What is fuzzed, what counts
as a finding and how to go on is in [the threat model](../explanation/threat-model.md#how-it-is-fuzzed).
"""
HEAD = """\
| target | inputs | of them refused | corpus | branches reached | inputs/s | minutes | killed a process | new findings |
|---|---|---|---|---|---|---|---|---|
"""


def page_of(report: dict[str, Any]) -> str:
    """Markdown of a summary."""
    rows = "".join(_row(name, one) for name, one in report["targets"].items())
    packages = ", ".join(f"{name} {version}" for name, version in report["packages"].items())
    minutes = f"{report['seconds'] / 60:.0f} minutes"
    total = f"{report['tried']:,} new inputs, and {report['replayed']:,} of earlier runs again, in {minutes}"
    system = f"{report['date']}, {report['system']}, Python {report['python']}"
    where = f"{system}, {packages}; {report['engine']}, seed {report['seed']}."
    found = f"Findings that were not there before: {', '.join(report['new']) or 'none'}."
    cut = "" if report["whole"] else " The run was cut short."
    return f"{INTRODUCTION}\n{total}.{cut} {found}\n\n{HEAD}{rows}\n{where}\n"


def _row(name: str, one: dict[str, Any]) -> str:
    whole = one["tried"] + one["replayed"]
    refused = f"{100 * one['refused'] / whole:.0f} %" if whole else "–"
    edges = "–" if one["edges"] is None else f"{one['edges']:,}"
    rate, minutes = f"{one['per_second']:.0f}", f"{one['seconds'] / 60:.1f}"
    cells = (
        name,
        f"{one['tried']:,}",
        refused,
        f"{one['corpus']:,}",
        edges,
        rate,
        minutes,
        one["deaths"],
        len(one["new"]),
    )
    return f"| {' | '.join(map(str, cells))} |\n"
