"""What the lines of ``attn record --stats`` add up to, module by module, in memory that no call makes larger.

Free of torch: the process that shows it never imports it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Line = Mapping[str, Any]
SCHEMA = "attn.record/"
SHOWN_METRICS = ("entropy", "sink_score", "confidence", "attention_distance")


@dataclass
class ModuleTotals:
    """The calls of one module so far.

    Attributes:
        calls: how many.
        step: of the last one.
        shape: B, Hq, Sq, Sk of the last one.
        milliseconds: that inspecting them took, together.
        labels: how many heads, over batch items and calls, have which.
        findings: how many calls have which, by severity.
        sums, counts: of each metric shown, over the heads that have a value.
    """

    calls: int = 0
    step: int = 0
    shape: tuple[int, ...] = ()
    milliseconds: float = 0.0
    labels: Counter[str] = field(default_factory=Counter)
    findings: Counter[str] = field(default_factory=Counter)
    sums: dict[str, float] = field(default_factory=lambda: dict.fromkeys(SHOWN_METRICS, 0.0))
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, line: Line) -> None:
        """Take in one call."""
        self.calls += 1
        self.step = line["step"]
        self.shape = tuple(line["shape"][name] for name in ("batch", "heads", "queries", "keys"))
        self.milliseconds += line["ms"]
        self.findings.update({one["severity"] for one in line["findings"]})
        for head in line["heads"]:
            self.labels[head["label"]] += 1
            for name in SHOWN_METRICS:
                if head[name] is not None:
                    self.sums[name] += head[name]
                    self.counts[name] += 1

    def mean(self, name: str) -> float | None:
        """A metric's plain mean over all heads of all calls that have a value, or None where none has."""
        return self.sums[name] / self.counts[name] if self.counts[name] else None


@dataclass
class FindingTotals:
    """One kind of finding: the first of it, where that was, and how many calls have it."""

    severity: str
    code: str
    message: str
    module: str
    step: int
    calls: int = 0


@dataclass
class WatchTotals:
    """All calls so far.

    Attributes:
        modules: by their paths, in the order of their first calls.
        findings: by code, in the order of the first of each.
    """

    modules: dict[str, ModuleTotals] = field(default_factory=dict)
    findings: dict[str, FindingTotals] = field(default_factory=dict)

    @property
    def calls(self) -> int:
        """How many there were."""
        return sum(one.calls for one in self.modules.values())

    @property
    def milliseconds(self) -> float:
        """What inspecting them took, together."""
        return sum(one.milliseconds for one in self.modules.values())

    def add_text(self, text: bytes) -> None:
        """Take in one line of the file; what is no line of ours is passed over."""
        try:
            line = json.loads(text)
        except ValueError:
            return
        if isinstance(line, dict) and str(line.get("schema", "")).startswith(SCHEMA):
            self.add(line)

    def add(self, line: Line) -> None:
        """Take in one call."""
        self.modules.setdefault(line["module"], ModuleTotals()).add(line)
        for one in {finding["code"]: finding for finding in reversed(line["findings"])}.values():
            new = FindingTotals(one["severity"], one["code"], one["message"], line["module"], line["step"])
            self.findings.setdefault(one["code"], new).calls += 1
