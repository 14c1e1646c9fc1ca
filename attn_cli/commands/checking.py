"""What ``attn check`` does behind its options; torch is imported here."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial

from attn_cli.checks import CHECKS
from attn_cli.checks.evidence import Surroundings
from attn_cli.checks.runner import check_call
from attn_cli.checks.types import CheckedCall, CheckResult
from attn_cli.commands.paging import write_out
from attn_cli.commands.paging_files import FilesPlan
from attn_cli.commands.running import part_of
from attn_cli.commands.showing import Showing
from attn_cli.errors import AttnError, InputError
from attn_cli.inputs.loading import CallPlan, judge_all
from attn_cli.inputs.names import without_step
from attn_cli.inputs.options import ReadOptions
from attn_cli.inputs.source import open_calls
from attn_cli.pipeline import RunOptions
from attn_cli.reporters.atomic import together
from attn_cli.reporters.check_data import checked_findings
from attn_cli.reporters.html import PageRequest
from attn_cli.reporters.html.check_story import check_page
from attn_cli.reporters.json_report import check_document, rules_document, write_document
from attn_cli.reporters.progress import progress_bar
from attn_cli.reporters.terminal import render_checked, render_rule, render_rules, render_verdict


@dataclass(frozen=True)
class CheckRequest:
    """What to look for and how to run, as asked for on the command line."""

    codes: tuple[str, ...]
    is_strict: bool
    device: str
    dtype: str | None
    backend: str
    json_output: bool
    screenshot: str | None = None
    page: PageRequest | None = None


def run_checks(reads: Sequence[ReadOptions], request: CheckRequest) -> int:
    """Check every call of every file; what was found in a file is shown before the next is opened.

    Returns:
        1 where the check fails, else 0.

    Raises:
        InputError: where a file is not what it has to be, after the others are checked; it holds their findings.
        AttnError: where nothing more can be checked; it holds what was found and refused until then.
    """
    showing = Showing(request.screenshot, before_files=request.page is not None or request.screenshot is not None)
    calls: list[CheckedCall] = []
    broken: list[InputError] = []
    refused: list[tuple[str, str]] = []
    page = None if request.page is None else FilesPlan(request.page)
    rules = {check.rule: check.rule.code in request.codes for check in CHECKS}
    asked, left_out = (tuple(rule for rule, is_asked in rules.items() if is_asked is one) for one in (True, False))
    for number, read in enumerate(reads):
        doing = "checking" if len(reads) == 1 else f"checking file {number + 1} of {len(reads)}"
        try:
            sharing = nullcontext() if page is None else page.one_of(len(reads) - number)
            with progress_bar(doing) as progress, sharing:
                found = _check_file(read, request, progress, page)
        except InputError as error:
            _let_go(error)
            broken.append(error)
            refused.append((read.file or read.q or "-", error.message))
            continue
        except AttnError as error:
            _add(error, broken, CheckResult(tuple(calls), asked, left_out, request.is_strict))
            raise
        calls += found
        if not request.json_output:
            showing.show(partial(render_checked, found))
    result = CheckResult(tuple(calls), asked, left_out, request.is_strict)
    verdict = [partial(render_verdict, result)] if calls and not request.json_output else []
    if calls:
        with together():
            if request.page is not None:
                run, story = check_page(result, refused)
                write_out(run, request.page, story)
            if not broken:
                showing.draw(*verdict)
    for render in verdict:
        showing.show(render)
    if broken:
        _add(broken[0], [*broken[1:], *filter(None, [showing.refusal])], result)
        raise broken[0]
    showing.finish()
    if request.json_output:
        write_document(check_document(result), sys.stdout)
    return int(result.fails)


def _add(error: AttnError, others: Sequence[AttnError], result: CheckResult) -> None:
    """Have an error tell of others, and of what was found in the files that could be read."""
    error.others, error.findings = tuple(others), tuple(checked_findings(result))


def _let_go(error: BaseException | None) -> None:
    """Forget what was at work where an error arose: it would keep a file open for as long as the error is kept."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


def _check_file(
    read: ReadOptions, request: CheckRequest, progress: Callable[[int, int], None], page: FilesPlan | None
) -> tuple[CheckedCall, ...]:
    checks = [check for check in CHECKS if check.rule.code in request.codes]
    options = RunOptions(request.device, request.dtype, request.backend)
    with open_calls(read) as source:
        judge_all(source.plans)
        several, around = len(source.plans), _surroundings(source.plans)
        shown = None if page is None else page.of_file(source.plans)
        found = []
        for number, plan in enumerate(source.plans):
            start = time.perf_counter()
            call = plan.load()
            what = None if shown is None else shown.next(call, (time.perf_counter() - start) * 1e3)
            found.append(check_call(call, checks, options, part_of(progress, number, several), around[number], what))
        return tuple(found)


def _surroundings(plans: Sequence[CallPlan]) -> tuple[Surroundings, ...]:
    """What the file says of each call's neighbours, in the order of the plans; no tensor is read."""
    shapes: dict[str, list[tuple[int, ...]]] = {}
    modules = [without_step(plan.prefix) for plan in plans]
    for module, plan in zip(modules, plans, strict=True):
        _, k, _ = plan.infos
        shapes.setdefault(module, []).append(k.shape)
    stay = {module: len(found) > 1 and len(set(found)) == 1 for module, found in shapes.items()}
    return tuple(Surroundings(len(plans), stay[module]) for module in modules)


def explain_rules(code: str | None, json_output: bool, screenshot: str | None) -> int:
    """Tell one rule in words, or list all of them where ``code`` is None."""
    rules = [check.rule for check in CHECKS if code in (None, check.rule.code)]
    if json_output:
        write_document(rules_document(rules), sys.stdout)
        return 0
    showing = Showing(screenshot)
    render = partial(render_rules, rules) if code is None else partial(render_rule, rules[0])
    showing.draw(render)
    showing.show(render)
    return 0
