"""The findings of several calls: the same one in several layers or steps is told once."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from attn_cli.inputs.types import CallRecord
from attn_cli.inspection.types import Finding
from attn_cli.reporters.terminal.text import ranges

Found = tuple[CallRecord, Finding]

_MOST_NAMES = 4
_NUMBERS = re.compile(r"[-−+]?\d[\d.]*(?:e[-−+]?\d+)?(?:(?:, | and |,|–|-)\d[\d.]*)*")
_WORD = re.compile(r"[^\W\d_]+")
_SINGULAR = {"have": "has", "are": "is", "were": "was"}


def merged_findings(found: Sequence[Found], calls: Sequence[CallRecord]) -> list[Finding]:
    """Every finding with its layer or module; those that differ in nothing but numbers once, as the first call has it.

    Args:
        found: the findings, each with its call.
        calls: all calls of the file, whose names it takes to tell them apart.
    """
    groups: dict[tuple[object, ...], list[Found]] = {}
    for call, finding in found:
        key = (finding.code, finding.severity, _without_numbers(finding.message), _without_numbers(finding.hint or ""))
        groups.setdefault(key, []).append((call, finding))
    file = _File(tuple(calls))
    return [one for group in groups.values() for one in _told(group, file)]


def _without_numbers(text: str) -> str:
    """What two texts have in common that count different things: ``"# row has"`` of ``"2 rows have"``."""
    return _WORD.sub(lambda word: _SINGULAR.get(word[0], word[0]).rstrip("s"), _NUMBERS.sub("#", text))


@dataclass(frozen=True)
class _File:
    """All calls of a file, and what its modules are called."""

    calls: tuple[CallRecord, ...]

    @cached_property
    def modules(self) -> tuple[CallRecord, ...]:
        """A record for each module."""
        return _modules(self.calls)

    @cached_property
    def times(self) -> Counter[tuple[int | None, str]]:
        """How many calls each module has."""
        return Counter(_key(call) for call in self.calls)

    @cached_property
    def _layers(self) -> Counter[int | None]:
        return Counter(one.layer for one in self.modules)

    def has_own_layer(self, call: CallRecord) -> bool:
        """Whether the number names its module and no other."""
        return call.layer is not None and self._layers[call.layer] == 1

    def name(self, call: CallRecord) -> str:
        """``layer 3``, or the module's path where no number names it."""
        return f"layer {call.layer}" if self.has_own_layer(call) else call.module or "(no prefix)"

    def listed(self, modules: Sequence[CallRecord]) -> str:
        """``layers 0-3``, ``all 9 modules``, or the first of their paths and how many more."""
        if all(map(self.has_own_layer, modules)):
            return f"layers {ranges(sorted(one.layer for one in modules if one.layer is not None))}"
        if len(modules) == len(self.modules):
            return f"all {len(modules)} modules"
        names = [self.name(one) for one in modules]
        more = len(names) - _MOST_NAMES
        return ", ".join(names) if more <= 1 else f"{', '.join(names[:_MOST_NAMES])} and {more} modules more"


def _key(call: CallRecord) -> tuple[int | None, str]:
    return call.layer, call.module


def _modules(calls: Sequence[CallRecord]) -> tuple[CallRecord, ...]:
    """A record for each module of these calls, in the order of its first."""
    firsts: dict[tuple[int | None, str], CallRecord] = {}
    for call in calls:
        firsts.setdefault(_key(call), call)
    return tuple(replace(call, prefix=call.module) for call in firsts.values())


def _told(group: Sequence[Found], file: _File) -> list[Finding]:
    """A group as one finding; those of one call as they are, for their places differ."""
    if len({(call.layer, call.prefix) for call, _ in group}) == 1:
        return [_of_one(call, finding, file) for call, finding in group]
    return [_of_several(group, file)]


def _of_one(call: CallRecord, finding: Finding, file: _File) -> Finding:
    if len(file.calls) == 1:
        return replace(finding, layer=call.layer)
    is_numbered = file.has_own_layer(call)
    where = [] if is_numbered or len(file.modules) == 1 else [file.name(call)]
    where += [f"step {call.step}"] if file.times[_key(call)] > 1 else []
    said = f"{finding.message} (in {' at '.join(where)})" if where else finding.message
    return replace(finding, layer=call.layer if is_numbered else None, message=said)


def _of_several(group: Sequence[Found], file: _File) -> Finding:
    """One finding for all calls of the group: where they are, and the numbers of the first."""
    first, finding = group[0]
    here = _modules([call for call, _ in group])
    is_by_module = len({(call.layer, call.prefix) for call, _ in group}) == len(here)
    are_same = len({(one.message, one.place, one.count) for _, one in group}) == 1
    where = _where(group, file, here, is_by_module=is_by_module, are_same=are_same)
    layer = first.layer if len(here) == 1 and file.has_own_layer(first) else None
    counts = [one.count for _, one in group if one.count is not None]
    is_sum = len(counts) == len(group) and not (are_same and is_by_module)
    number = sum(counts) if is_sum else finding.count
    return replace(finding, layer=layer, count=number, message=f"{finding.message} (in {where})")


def _where(
    group: Sequence[Found], file: _File, here: Sequence[CallRecord], *, is_by_module: bool, are_same: bool
) -> str:
    """``2 of 5 steps, first in step 0``, ``layers 0-3`` or ``24 of 200 calls, layers 0-3, first in …``."""
    first, times = group[0][0], len({(call.layer, call.prefix) for call, _ in group})
    if len(here) == 1:
        where = f"{times} of {file.times[_key(first)]} steps, first in step {first.step}"
        return where if file.has_own_layer(first) or len(file.modules) == 1 else f"{file.name(first)}: {where}"
    if is_by_module and max(file.times.values()) == 1:
        return file.listed(here) + ("" if are_same else f"; place and numbers are those of {file.name(first)}")
    start = f"{file.name(first)} at step {first.step}" if file.times[_key(first)] > 1 else file.name(first)
    return f"{times} of {len(file.calls)} calls, {file.listed(here)}, first in {start}"
