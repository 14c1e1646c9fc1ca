"""An earlier run out of its file, and a new one beside it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NoReturn, get_args, get_type_hints

from attn_cli.benchmark.statistics import MARGIN, verdict
from attn_cli.benchmark.types import BenchCase, BenchReport, BenchResult, Compared, Comparison, Lost, Mode, Verdict
from attn_cli.errors import UsageError, in_file
from attn_cli.inputs.json_text import read_json
from attn_cli.inputs.text import shown

SCHEMA = "attn.bench/1"
KIND = "a JSON file as attn bench --save writes it"
HINT = "write a new one with attn bench --save FILE"
SHORTEST_MS, LONGEST_MS = 1e-9, 1e12  # no clock is so fine; thirty years
TRUSTED = 1.25  # a yardstick farther off than by this factor tells of other load, which does not strike all alike
MEASURED_STATUS = ("ok", "interrupted")  # a wrong backend's time says nothing about a right one's
LOST_STATUS = ("wrong", "refused", "skipped", "failed")
MUST_AGREE = (
    "device",
    "device_name",
    "threads",
    "float32_matmul_precision",
    "allow_tf32",
    "cudnn_allow_tf32",
    "l2_flush_bytes",
    "keeps_freed_memory",
)
VARYING = ("clock", "mhz", "load", "temperature", "time", "available", "free")  # differ between any two runs

Key = tuple[str, BenchCase]
Setting = str | int | float | bool | None


@dataclass(frozen=True)
class Baseline:
    """What an earlier ``attn bench`` measured.

    Attributes:
        file: where it was read.
        environment: as it was then.
        samples: milliseconds of each backend and case that was timed and right.
        yardsticks: milliseconds that the yardstick took beside each of these; nothing where it was not timed.
    """

    file: str
    environment: dict[str, Setting]
    samples: dict[Key, tuple[float, ...]]
    yardsticks: dict[Key, float]


def load(path: str | Path) -> Baseline:
    """Read the JSON that ``attn bench --save`` or ``--json`` wrote.

    Raises:
        InputError: where it cannot be read, is broken, or is another kind of file.
    """
    file = shown(str(path))
    document: Any = read_json(str(path), f"expected {KIND}", HINT)
    found = document.get("schema") if isinstance(document, dict) else None
    if not isinstance(found, str) or found != SCHEMA:
        kind = f"its schema is {shown(found)}" if isinstance(found, str) else "it names no schema"
        raise in_file(file, kind, f"expected {SCHEMA}, {KIND}")
    try:
        data = _mapping(document["data"])
        environment = {shown(key): _setting(value) for key, value in _mapping(data["environment"]).items()}
        entries = [_mapping(entry) for entry in _sequence(data["results"])]
        measured = [entry for entry in entries if _is_measured(entry)]
        samples = dict(_entry(entry) for entry in measured)
        known = {_key(entry): _yardstick(entry) for entry in measured}
        if len(samples) < len(measured):
            raise ValueError("two results of one backend and case")
        environment["device"]
    except KeyError as error:
        _refuse(file, f"{error.args[0]} is missing in it")
    except (TypeError, ValueError, OverflowError) as error:
        _refuse(file, f"it holds {shown(str(error))}")
    yardsticks = {key: yardstick for key, yardstick in known.items() if yardstick is not None}
    return Baseline(file, environment, samples, yardsticks)


def compare(report: BenchReport, baseline: Baseline, margin: float = MARGIN) -> Comparison:
    """Every result that both have, by :func:`attn_cli.benchmark.statistics.verdict`, in the report's order.

    What was right in the baseline and was asked for again, but is wrong, refused, skipped or failed now, is lost.

    Where both have a yardstick, the times are compared twice: as they are, and in units of their own run's yardstick,
    which leaves out what the machine was faster or slower as a whole. A difference is one where both say so; it is the
    SAME where either does, and UNCLEAR elsewhere. Told is the ratio nearer to 1. Where the yardsticks differ by more
    than a quarter the machine was busy with something else, which does not strike all works alike: then only the times
    themselves can say SAME.

    Args:
        report: the new run.
        baseline: the old one.
        margin: the least difference that counts, 0.05 for 5 %.

    Raises:
        UsageError: where the two ran on another device or with other settings, or have no result in common.
    """
    check_environment(report.environment, baseline)
    measured = {(result.backend, result.case): result for result in report.results if _samples(result)}
    now = Baseline(
        "",
        report.environment,
        {key: _samples(result) for key, result in measured.items()},
        {key: result.yardstick_ms for key, result in measured.items() if result.yardstick_ms},
    )
    entries = compare_measured(now, baseline, margin)
    lost = tuple(
        Lost(result.backend, result.case, result.status, result.reason)
        for result in report.results
        if result.status in LOST_STATUS and (result.backend, result.case) in baseline.samples
    )
    if measured and not entries and not lost:
        raise nothing_in_common(baseline)
    missing = len(measured.keys() ^ baseline.samples.keys()) - len(lost)
    notes = (*_machine_notes(entries, margin), *_notes(report.environment, baseline.environment))
    return Comparison(baseline.file, entries, missing, notes, lost)


def compare_measured(new: Baseline, old: Baseline, margin: float = MARGIN) -> tuple[Compared, ...]:
    """Every result that both runs have, in the order of the new one; :func:`compare` says how.

    Args:
        new: what was measured now, or read from the file of a later run.
        old: the earlier run.
        margin: the least difference that counts, 0.05 for 5 %.
    """
    return tuple(_compared(key, new, old, margin) for key in new.samples if key in old.samples)


def _compared(key: Key, now: Baseline, baseline: Baseline, margin: float) -> Compared:
    backend, case = key
    old, new = baseline.samples[key], now.samples[key]
    before, after = baseline.yardsticks.get(key), now.yardsticks.get(key)
    machine = after / before if after and before else None
    plain = verdict(old, new, margin)
    if machine is None:
        return Compared(backend, case, *plain)
    relative = verdict(tuple(sample * machine for sample in old), new, margin)  # at the machine's speed of now
    is_trusted = abs(math.log(machine)) <= math.log(TRUSTED)
    same = [told for told in (plain, *([relative] if is_trusted else [])) if told[0] == "SAME"]
    told = min(same or (plain, relative), key=lambda told: abs(math.log(told[1])))
    said: Verdict = told[0] if same or plain[0] == relative[0] != "SAME" else "UNCLEAR"
    return Compared(backend, case, said, *told[1:], machine)


def check_environment(environment: Mapping[str, Setting], baseline: Baseline) -> None:
    """Refuse a baseline of another device or other settings; to be asked before anything is measured.

    Raises:
        UsageError: names the first setting that differs.
    """
    for name in MUST_AGREE:
        old, new = baseline.environment.get(name), environment.get(name)
        if old != new:
            message = f"{baseline.file}: {_difference(name, old, new)}; expected the same device and settings"
            raise UsageError(message, "run both with the same, or write a new one with --save")


def nothing_in_common(baseline: Baseline) -> UsageError:
    """The refusal of a baseline that no result of a run could be compared with."""
    message = f"{baseline.file}: has no result in common with this run"
    return UsageError(
        f"{message}; expected the same backends, dtypes, shapes and mode",
        "run what the baseline did, or write a new one with --save",
    )


def _machine_notes(entries: Sequence[Compared], margin: float) -> tuple[str, ...]:
    """That the machine itself was faster or slower, where that is more than the margin."""
    known = [entry.machine for entry in entries if entry.machine is not None]
    farthest = max(known, key=lambda ratio: abs(math.log(ratio)), default=1.0)
    if abs(math.log(farthest)) <= math.log1p(margin):
        return ()
    said = f"{farthest - 1:.0%} longer" if farthest > 1 else f"{1 - farthest:.0%} less"
    return (
        f"the machine's own speed differed: a fixed work took up to {said} this time, which the verdicts allow for",
    )


def _notes(new: Mapping[str, Setting], old: Mapping[str, Setting]) -> tuple[str, ...]:
    """What else differs, and may; and that nothing tells whether the processor is the same one."""
    unknown = "device_name" in new and new["device_name"] is None and old.get("device_name") is None
    said = ("the device's name is unknown in both: that they ran on the same one is not certain",) if unknown else ()
    names = [name for name in new if name not in MUST_AGREE and not any(word in name.lower() for word in VARYING)]
    return said + tuple(_difference(name, old.get(name), new[name]) for name in names if old.get(name) != new[name])


def _difference(name: str, old: Setting, new: Setting) -> str:
    return f"{name.replace('_', ' ')} was {_said(old)} and is {_said(new)} now"


def _said(value: Setting) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return "unknown" if value is None else shown(str(value))


def _samples(result: BenchResult) -> tuple[float, ...]:
    return result.ms.samples if result.ms is not None and result.status in MEASURED_STATUS else ()


def _refuse(file: str, found: str) -> NoReturn:
    raise in_file(file, found, f"expected {KIND}", HINT)


def _is_measured(entry: Mapping[str, Any]) -> bool:
    return entry["status"] in MEASURED_STATUS and entry["ms"] is not None


def _entry(entry: Mapping[str, Any]) -> tuple[Key, tuple[float, ...]]:
    samples = tuple(_milliseconds(value) for value in _sequence(_mapping(entry["ms"])["samples"]))
    if not samples:
        raise ValueError("a result without samples")
    return _key(entry), samples


def _key(entry: Mapping[str, Any]) -> Key:
    backend = entry["backend"]
    if not isinstance(backend, str):
        raise TypeError("a backend that is no text")
    return backend, _case(entry)


def _yardstick(entry: Mapping[str, Any]) -> float | None:
    """None in a file without yardsticks, as one of a GPU is."""
    value = entry.get("yardstick_ms")
    return None if value is None else _milliseconds(value)


def _case(entry: Mapping[str, Any]) -> BenchCase:
    """The case of a result, each field of just the type it has in :class:`BenchCase`."""
    kinds = get_type_hints(BenchCase)
    values = {field.name: entry[field.name] for field in fields(BenchCase)}
    for name, value in values.items():
        kind = str if kinds[name] is Mode else kinds[name]
        if type(value) is not kind:
            raise TypeError(f"a case whose {name} is no {kind.__name__}")
    if values["mode"] not in get_args(Mode):
        raise ValueError(f"a case of mode {values['mode']}")
    return BenchCase(**values)


def _milliseconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not SHORTEST_MS <= value <= LONGEST_MS:
        raise ValueError("a sample that is no time")
    return float(value)


def _setting(value: object) -> Setting:
    if value is not None and not isinstance(value, str | int | float | bool):
        raise TypeError("a setting that is neither text nor number")
    return value


def _mapping(value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise TypeError("no object where one belongs")
    return value


def _sequence(value: object) -> Sequence[Any]:
    if not isinstance(value, list):
        raise TypeError("no list where one belongs")
    return value
