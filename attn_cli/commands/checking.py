"""What ``attn check`` does behind its options; torch is imported here."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.console import Console

from attn_cli.checks import CHECKS
from attn_cli.checks.evidence import Surroundings
from attn_cli.checks.runner import check_call
from attn_cli.checks.types import CheckedCall, CheckResult
from attn_cli.commands.running import part_of
from attn_cli.errors import InputError
from attn_cli.inputs.loading import CallPlan
from attn_cli.inputs.names import without_step
from attn_cli.inputs.options import ReadOptions
from attn_cli.inputs.source import open_calls
from attn_cli.pipeline import RunOptions
from attn_cli.reporters.check_data import checked_findings
from attn_cli.reporters.json_report import check_document, rules_document, write_document
from attn_cli.reporters.progress import progress_bar
from attn_cli.reporters.terminal import render_checked, render_rule, render_rules, render_verdict
from attn_cli.reporters.terminal.console import make_console


@dataclass(frozen=True)
class CheckRequest:
    """What to look for and how to run, as asked for on the command line."""

    codes: tuple[str, ...]
    is_strict: bool
    device: str
    dtype: str | None
    backend: str
    json_output: bool


def run_checks(reads: Sequence[ReadOptions], request: CheckRequest) -> int:
    """Check every call of every file; what was found in a file is shown before the next is opened.

    Returns:
        1 where the check fails, else 0.

    Raises:
        InputError: where a file is not what it has to be, after the others are checked; it holds their findings.
    """
    console: Console | None = None if request.json_output else make_console()
    calls: list[CheckedCall] = []
    broken: list[InputError] = []
    for number, read in enumerate(reads):
        doing = "checking" if len(reads) == 1 else f"checking file {number + 1} of {len(reads)}"
        try:
            with progress_bar(doing) as progress:
                found = _check_file(read, request, progress)
        except InputError as error:
            broken.append(error)
            continue
        calls += found
        if console is not None:
            render_checked(found, console)
    rules = {check.rule: check.rule.code in request.codes for check in CHECKS}
    asked, left_out = (tuple(rule for rule, is_asked in rules.items() if is_asked is one) for one in (True, False))
    result = CheckResult(tuple(calls), asked, left_out, request.is_strict)
    if console is not None and calls:
        render_verdict(result, console)
    if broken:
        raise _refusal(broken, result)
    if console is None:
        write_document(check_document(result), sys.stdout)
    return int(result.fails)


def _refusal(broken: Sequence[InputError], result: CheckResult) -> InputError:
    """The first error, with the others and with what was found in the files that could be read."""
    first, *others = broken
    first.others, first.findings = tuple(others), tuple(checked_findings(result))
    return first


def _check_file(
    read: ReadOptions, request: CheckRequest, progress: Callable[[int, int], None]
) -> tuple[CheckedCall, ...]:
    checks = [check for check in CHECKS if check.rule.code in request.codes]
    options = RunOptions(request.device, request.dtype, request.backend)
    with open_calls(read) as source:
        several, around = len(source.plans), _surroundings(source.plans)
        return tuple(
            check_call(plan.load(), checks, options, part_of(progress, number, several), around[number])
            for number, plan in enumerate(source.plans)
        )


def _surroundings(plans: Sequence[CallPlan]) -> tuple[Surroundings, ...]:
    """What the file says of each call's neighbours, in the order of the plans; no tensor is read."""
    shapes: dict[str, list[tuple[int, ...]]] = {}
    modules = [without_step(plan.prefix) for plan in plans]
    for module, plan in zip(modules, plans, strict=True):
        _, k, _ = plan.infos
        shapes.setdefault(module, []).append(k.shape)
    stay = {module: len(found) > 1 and len(set(found)) == 1 for module, found in shapes.items()}
    return tuple(Surroundings(len(plans), stay[module]) for module in modules)


def explain_rules(code: str | None, json_output: bool) -> int:
    """Tell one rule in words, or list all of them where ``code`` is None."""
    rules = [check.rule for check in CHECKS if code in (None, check.rule.code)]
    if json_output:
        write_document(rules_document(rules), sys.stdout)
    elif code is None:
        render_rules(rules, make_console())
    else:
        render_rule(rules[0], make_console())
    return 0
