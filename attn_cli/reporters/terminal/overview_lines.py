"""What the lines of an overview are, how they are called, and how to open what stands in them."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from functools import cached_property

from rich.text import Text

from attn_cli.inputs.types import CallRecord
from attn_cli.reporters.terminal.canvas import Canvas
from attn_cli.reporters.terminal.labels import call_name, has_own_layer, how_to_open
from attn_cli.reporters.terminal.tables import Column
from attn_cli.reporters.terminal.text import ranges
from attn_cli.results import CallResult, ModuleResult, RunResult

MOST_STEPS = 32


@dataclass(frozen=True)
class Lines:
    """The modules of a result, a line each; or the steps of its only module, where they are few.

    Attributes:
        result: at least one call.
    """

    result: RunResult

    @cached_property
    def records(self) -> list[CallRecord]:
        """A record for each module of the result, by which to call it."""
        return [module.record for module in self.result.modules]

    @cached_property
    def are_steps(self) -> bool:
        """Whether a line is a step."""
        modules = self.result.modules
        return len(modules) == 1 and 1 < len(modules[0].calls) <= MOST_STEPS

    @cached_property
    def modules(self) -> tuple[ModuleResult, ...]:
        """What each line sums up."""
        modules = self.result.modules
        return tuple(ModuleResult((call,)) for call in modules[0].calls) if self.are_steps else modules

    @property
    def have_steps(self) -> bool:
        """Whether a line stands for several calls."""
        return any(len(module.calls) > 1 for module in self.modules)

    @property
    def have_batches(self) -> bool:
        """Whether a call has several batch items."""
        return any(len(call.inspection.index.batch) > 1 for call in self.result.calls)

    @property
    def over(self) -> str:
        """What a line's numbers are means over, ``"batch items and steps"``; empty for a single item."""
        return " and ".join(["batch items"] * self.have_batches + ["steps"] * self.have_steps)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """What each line is called: a layer's number, a step's, or a module's path."""
        if self.are_steps:
            return tuple(str(module.calls[0].call.step) for module in self.modules)
        known = self.records
        return tuple(str(one.layer) if has_own_layer(one, known) else call_name(one, known) for one in known)

    def column(self, canvas: Canvas, places: list[int] | None = None) -> Column:
        """The names of the lines, or of those at these places, as a table's first column."""
        chosen = range(len(self.names)) if places is None else places
        cells = tuple(canvas.text(self.names[place], "bold") for place in chosen)
        return Column(self.header(canvas), cells, right=self._have_numbers, repeat=True)

    def header(self, canvas: Canvas) -> Text:
        """``layer``, ``module`` where paths are their names, or ``step``."""
        return canvas.text("step" if self.are_steps else "layer" if self._have_numbers else "module", "dim")

    @cached_property
    def _have_numbers(self) -> bool:
        return all(name.isdecimal() for name in self.names)

    def title(self, name: str) -> str:
        """``Heads``, or ``Heads of layer 3`` where no other module has a line."""
        record = self.records[0]
        is_named = len(self.records) == 1 and (record.layer is not None or record.prefix)
        return f"{name} of {self.name(0)}" if is_named else name

    def name(self, module: int, call: CallResult | None = None) -> str:
        """``layer 3``, ``layer 3 at step 7``, or the module's path in the same way."""
        name = call_name(self.records[module], self.records)
        return name if call is None or not self._has_steps(module) else f"{name} at step {call.call.step}"

    def option(self, module: int, call: CallResult | None = None) -> str:
        """What picks a module out of its file, or one of its calls: ``--layer 3 --step 7``."""
        record, calls = self.records[module], self.result.modules[module].calls
        if call is None:
            first = [one.call.step for one in calls[:MOST_STEPS]]
            few = f" --step {ranges(first)}" if len(calls) > MOST_STEPS else ""
            return how_to_open(record, self.records) + few
        if not self._has_steps(module):
            return how_to_open(call.call, [call.call]) if record.layer is None else how_to_open(record, self.records)
        if has_own_layer(record, self.records):
            return f"--layer {record.layer} --step {call.call.step}"
        return f"--prefix {shlex.quote(call.call.prefix)}" if call.call.prefix else f"--step {call.call.step}"

    def _has_steps(self, module: int) -> bool:
        calls = self.result.modules[module].calls
        return len(calls) > 1 or calls[0].call.step > 0
