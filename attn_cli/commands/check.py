"""``attn check``: a linter for attention."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

import typer

from attn_cli.commands import options as opt
from attn_cli.commands.imports import for_good
from attn_cli.commands.parsing import parse_codes
from attn_cli.commands.reading import check_files, files_of, reads_a_file
from attn_cli.commands.writing import FIGURES, OutputOptions, writes_files
from attn_cli.errors import UsageError
from attn_cli.inputs.options import ReadOptions, check_pipes_once
from attn_cli.inputs.text import shown

# Those of attn_cli.checks.CHECKS, written out so that a wrong one is answered without torch.
CODES = tuple(f"ATTN{number:03d}" for number in range(1, 21))
ALL = "all"
CHECKING = "What to check"

Files = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[FILE]...",
        help="One or more .safetensors, .npz or .pt files, or - for the bytes of one on stdin.",
    ),
]
Select = Annotated[
    str | None,
    typer.Option(
        "--select",
        metavar="CODES",
        help="Look for these alone: codes or their beginnings, such as ATTN001,ATTN01. \\[default: all]",
        rich_help_panel=CHECKING,
    ),
]
Ignore = Annotated[
    str | None,
    typer.Option(
        "--ignore", metavar="CODES", help="Do not look for these: codes or their beginnings.", rich_help_panel=CHECKING
    ),
]
Strict = Annotated[
    bool, typer.Option("--strict", help="A warning fails the check, as an error does.", rich_help_panel=CHECKING)
]
RuleCode = Annotated[
    str | None,
    typer.Option(
        "--rule",
        metavar="CODE",
        help="Explain a rule instead: what it looks for, why it matters, an example. all lists them.",
        rich_help_panel=CHECKING,
    ),
]


@reads_a_file()
@writes_files(but=FIGURES)
def check(
    *,
    files: Files = None,
    read: ReadOptions,
    select: Select = None,
    ignore: Ignore = None,
    strict: Strict = False,
    rule: RuleCode = None,
    device: opt.Device = "auto",
    dtype: opt.DtypeOption = None,
    backend: opt.Backend = opt.BackendName.auto,
    json_output: opt.Json = False,
    outputs: OutputOptions,
) -> int:
    """Check attention for faults: what is wrong, at which batch item, head, query and key, and what to do.

    Each rule looks at every layer of every FILE. The exit code is 1 where an error was found.
    """
    codes = _codes(select, ignore)
    if rule is not None:
        return _explain(rule, files, json_output, outputs)
    reads = _reads(files, read)
    out = outputs.checked("--json" if json_output else None, [file for one in reads for file in files_of(one)])
    with for_good():
        from attn_cli.commands.checking import CheckRequest, run_checks

    request = CheckRequest(
        codes, strict, device, dtype and dtype.value, backend.value, json_output, out.screenshot, out.page
    )
    return run_checks(reads, request)


def _codes(select: str | None, ignore: str | None) -> tuple[str, ...]:
    """The rules that are asked for, in order."""
    wanted, unwanted = parse_codes("--select", select, CODES), parse_codes("--ignore", ignore, CODES)
    codes = tuple(code for code in (CODES if wanted is None else wanted) if code not in (unwanted or ()))
    if not codes:
        asked = f"--select {select} --ignore {ignore}" if select else f"--ignore {ignore}"
        raise UsageError(f"{asked}: no rule is left; expected at least one")
    return codes


def _reads(files: Sequence[str] | None, read: ReadOptions) -> tuple[ReadOptions, ...]:
    """How to read each file, once, all of them there."""
    if not files and not (read.q or read.k or read.v):
        raise UsageError(
            "no FILE: expected one or more, or one .npy file each for --q, --k and --v",
            "attn check --rule all lists what is looked for",
        )
    check_pipes_once(*(ReadOptions(file) for file in files or ()))
    reads = tuple(replace(read, file=file) for file in dict.fromkeys(files)) if files else (read,)
    check_files(*reads)
    return reads


def _explain(rule: str, files: Sequence[str] | None, json_output: bool, outputs: OutputOptions) -> int:
    """Tell what a rule is about, or list all of them."""
    code = rule.strip().upper()
    if files:
        raise UsageError(f"--rule {rule}: explains a rule and checks nothing; expected no FILE", _meant(code))
    if code not in (*CODES, ALL.upper()):
        expected = f"expected {ALL}, or one of {', '.join(CODES)}"
        found = f"--rule {shown(rule, 60)}: is no rule"
        raise UsageError(f"{found}; {expected}", f"attn check --rule {ALL} lists them by name")
    if outputs.html is not None:
        raise UsageError(f"--rule {rule}: explains a rule and checks nothing; expected no --html", _meant(code))
    out = outputs.checked("--json" if json_output else None, ())
    with for_good():
        from attn_cli.commands.checking import explain_rules

    return explain_rules(None if code == ALL.upper() else code, json_output, out.screenshot)


def _meant(code: str) -> str | None:
    return f"--select {code} looks for this rule alone" if code in CODES else None
