"""What ``attn record`` says when the program is over. Free of torch."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from attn_cli.recording.job import Told
from attn_cli.reporters.captures.finish import CaptureSummary
from attn_cli.reporters.terminal.bench_numbers import size
from attn_cli.reporters.terminal.text import count, harmless

HEARD = "scaled_dot_product_attention, nn.MultiheadAttention, flex_attention, and those of flash-attn and xFormers"
LISTED = 6


@dataclass(frozen=True)
class RecordOutcome:
    """How a recording went.

    Attributes:
        output: the file.
        summary: what is in it.
        told: what the program's process had to say, or None where torch was never imported in it.
        is_stats: whether the file holds what inspecting gave, not the calls.
        limit: how large the tensors might become, as it was asked for.
        had_output: whether there was such a file before.
        went_well: whether the program's exit code is 0.
    """

    output: str
    summary: CaptureSummary
    told: Told | None
    is_stats: bool
    limit: str
    had_output: bool
    went_well: bool


def recorded_lines(outcome: RecordOutcome) -> list[str]:
    """What was recorded and how to look at it, a line each."""
    summary = outcome.summary
    if not summary.calls:
        return []
    where = f"{harmless(shlex.quote(outcome.output))} ({size(summary.bytes)})"
    what = f"{count(summary.calls, 'attention call')} of {count(len(summary.modules), 'module')}"
    verb = "watched" if outcome.is_stats else "recorded"
    lines = [f"attn: {verb} {what} in {count(summary.steps, 'step')}: {where}"]
    if not outcome.is_stats:
        lines.append(f"attn: look at them with: attn run {harmless(shlex.quote(outcome.output))}")
    return lines


def warning_lines(outcome: RecordOutcome) -> list[str]:
    """What did not go as it was meant to, a line each."""
    return [f"attn: warning: {harmless(text)}" for text in _warnings(outcome)]


def _warnings(outcome: RecordOutcome) -> Iterator[str]:
    summary, told = outcome.summary, outcome.told
    if not summary.calls:
        left = f"; {outcome.output} was left as it was" if outcome.had_output else ""
        yield f"nothing was recorded: {_why_nothing(told)}{left}"
    if told is None:
        return
    for reason, number in told.passed_over:
        yield f"{count(number, 'call')} passed over: {reason}"
    if told.why_full not in (None, "disk"):
        yield _full(outcome, told)
    if told.fault is not None:
        yield f"the recording ended before the program did: {told.fault}"
    if summary.dropped:
        yield f"the last {count(summary.dropped, 'call')} were left out: there was no room on the disk"
    if outcome.went_well and summary.calls and not told.is_final and told.fault is None:
        yield "the recording did not see the program's end: calls may be missing without a word"
    if told.has_compiled:
        yield "the program uses torch.compile: attention that the compiler takes apart is not heard"


def _why_nothing(told: Told | None) -> str:
    if told is None:
        return "the program never imported torch"
    if told.fault is not None:
        return "the recording failed"
    if told.calls == 0:
        return f"no attention call was heard; attn hears {HEARD}" if told.is_final else "the program was cut short"
    if told.why_full is not None or told.passed_over:
        return f"{count(told.calls, 'attention call')} and none of them kept"
    return f"none of {count(told.calls, 'attention call')} was selected{_listed(told.modules)}"


def _listed(modules: tuple[str, ...]) -> str:
    if not modules:
        return ""
    more = ", …" if len(modules) > LISTED else ""
    return f"; calls came from {', '.join(modules[:LISTED])}{more}"


def _full(outcome: RecordOutcome, told: Told) -> str:
    kept = f"{outcome.summary.calls} of {count(told.calls, 'attention call')} are in it"
    if told.why_full == "names":
        return f"the file is full, a safetensors file holds no more names: {kept}; --layers or --calls select some"
    ways = "a larger --max-bytes has room for more, --layers, --calls and --heads select some, --stats keeps no tensors"
    return f"the file is full at --max-bytes {outcome.limit}: {kept}; {ways}"
