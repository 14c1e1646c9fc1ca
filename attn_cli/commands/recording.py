"""What ``attn record`` does behind its options. Torch is imported by the program alone, in a process of its own."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass

from attn_cli.commands.child import Child, child
from attn_cli.commands.sizes import environment_as_given
from attn_cli.errors import ResourceError, UsageError
from attn_cli.recording.job import RecordJob, Told, environment_for
from attn_cli.recording.options import RecordOptions
from attn_cli.reporters.atomic import check_folder, is_same
from attn_cli.reporters.captures.finish import CaptureSummary, finish_capture
from attn_cli.reporters.captures.folder import working_folder
from attn_cli.reporters.captures.lines import finish_lines
from attn_cli.reporters.terminal.recorded import RecordOutcome, recorded_lines, warning_lines
from attn_cli.reporters.terminal.text import harmless
from attn_cli.reporters.terminal.watch import LineTail, live_view
from attn_cli.reporters.terminal.watch_totals import WatchTotals

START = "attn_cli.commands.recorded_program"
CAPTURE, LINES = ".safetensors", ".jsonl"
OTHERS = (".npz", ".npy", ".pt", ".pth", ".json", ".html", ".csv", ".py")


@dataclass(frozen=True)
class RecordRequest:
    """What to run and what to keep, as asked for on the command line.

    Attributes:
        program: a script, or a module, and its arguments.
        is_module: whether it is a module.
        output: the file to write, or None for the one that has the program's name.
        stats: whether to inspect the calls at once, and to keep no tensors.
        quiet: whether to say nothing where all went well.
        limit: of the tensors' bytes, as it was written.
        options: which calls.
    """

    program: tuple[str, ...]
    is_module: bool
    output: str | None
    stats: bool
    quiet: bool
    limit: str
    options: RecordOptions


def run_recorded(request: RecordRequest) -> int:
    """Run the program, give the file its name however the program ended, and say what was recorded.

    Returns:
        The program's exit code.

    Raises:
        UsageError: where the output cannot be meant.
        ResourceError: where it cannot be written, although the program itself went well.
    """
    output = request.output or _default_output(request)
    _check_output(output, request)
    had_output = os.path.exists(output)
    failure = None
    with working_folder(output) as folder, child() as program:
        job = RecordJob(START, str(folder), request.stats, request.options)
        program.start(_command(request), environment_for(job, environment_as_given()))
        totals = _watch(program, job, request)
        code = program.wait()
        summary, told = CaptureSummary(), Told.read(job.told)
        try:
            summary = _finish(job, output, request, totals)
        except ResourceError as error:
            failure = error
    if failure is not None and code == 0:
        raise failure
    outcome = RecordOutcome(output, summary, told, request.stats, request.limit, had_output, code == 0)
    _say(warning_lines(outcome) if failure is None else [f"attn: error: {harmless(failure.message)}"])
    _say([] if request.quiet else recorded_lines(outcome))
    return code


def _default_output(request: RecordRequest) -> str:
    """``train.attn.safetensors`` in the working folder, for ``src/train.py``."""
    name = os.path.basename(os.path.normpath(request.program[0]))
    stem = name if request.is_module else os.path.splitext(name)[0]
    name = f"{'stdin' if stem == '-' else stem}.attn{LINES if request.stats else CAPTURE}"
    return os.path.join(os.curdir, name) if name.startswith("-") else name  # or it would look like an option


def _check_output(output: str, request: RecordRequest) -> None:
    """Refuse a file that cannot be written, or that cannot be meant, before the program runs."""
    expected = LINES if request.stats else CAPTURE
    suffix = os.path.splitext(output)[1].lower()
    if suffix in {CAPTURE, LINES, *OTHERS} - {expected}:
        form = "JSON lines" if request.stats else "safetensors"
        raise UsageError(f"--output {output}: it is written as {form}; expected a name such as out{expected}")
    read = [request.options.tokenizer, None if request.is_module else request.program[0]]
    for other in read:
        if other is not None and is_same(other, output):
            raise UsageError(f"--output {output}: would replace {other}; expected another name")
    check_folder(output)


def _command(request: RecordRequest) -> list[str]:
    if not sys.executable:
        raise ResourceError("the Python interpreter is unknown; expected sys.executable to name it")
    is_like_an_option = request.program[0].startswith("-") and request.program[0] != "-"
    before = ["-m"] if request.is_module else ["--"] if is_like_an_option else []
    return [sys.executable, *before, *request.program]


def _watch(program: Child, job: RecordJob, request: RecordRequest) -> WatchTotals:
    """Show what the program does, where it is inspected while it runs; a closed stderr is no reason to stop."""
    if not request.stats:
        return WatchTotals()
    if not request.quiet:
        with contextlib.suppress(OSError):
            return live_view(job.lines, program.has_ended)
    program.wait()
    totals = WatchTotals()
    for line in LineTail(job.lines).lines():
        totals.add_text(line)
    return totals


def _finish(job: RecordJob, output: str, request: RecordRequest, totals: WatchTotals) -> CaptureSummary:
    """Give the file its name, if there is anything in it."""
    if request.stats:
        steps = max((module.calls for module in totals.modules.values()), default=0)
        return CaptureSummary(totals.calls, tuple(totals.modules), steps, finish_lines(job.lines, output))
    # The arguments stay out of the file: they may hold what is nobody's business.
    program = [*(["-m"] if request.is_module else []), request.program[0]]
    return finish_capture(job.data, job.index, output, " ".join(program))


def _say(lines: Iterable[str]) -> None:
    with contextlib.suppress(OSError):
        for line in lines:
            sys.stderr.write(f"{line}\n")
        sys.stderr.flush()
