"""What must hold of every case, whatever is in it. A breach is a finding."""

import json
import os
import re
import traceback
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise, takewhile
from typing import Any

from tests.fuzz.case import Case
from tests.fuzz.mutators.options import WRITING
from tests.fuzz.sandbox import Done

SECONDS = 10.0
MOST_MEMORY = 2**30  # bytes beyond what was there
CODES = (0, 1, 2, 3)
ERROR = "attn: error: "
CONTINUED = ("hint: ", "  ")
SUM_TOLERANCE = 1e-3
# What small inputs may fail of: a device that is not there, a place that cannot be written to, a size that is named.
RESOURCES = re.compile(r"--(against-)?device|cannot be written|\d ?[KMGTPEZY]i?B")
TOLD_BEFORE = ("record", "check")  # what a program wrote, what other files have
ADDRESS = re.compile(r".{0,80} at 0x[0-9a-fA-F]{8,}")  # of an object: in every process another
HIDDEN_CATEGORIES = ("Cc", "Cf", "Cs", "Cn", "Zl", "Zp")


@dataclass(frozen=True)
class Breach:
    """A law that did not hold.

    Attributes:
        law: its name.
        told: what was seen instead.
    """

    law: str
    told: str

    @property
    def signature(self) -> str:
        """The same for two inputs that show the same fault: names and numbers are left out."""
        first = self.told.splitlines()[-1] if self.law == "raised" else self.told.split("\n")[0]
        where = re.findall(r'File "[^"]*/(attn_cli/[^"]+|zipfile\.py|numpy[^"]+)", line \d+, in (\w+)', self.told)[-1:]
        return f"{self.law} {where} " + re.sub(r"\d+|'[^']*'|\"[^\"]*\"", "_", first)[:90]


def breaches(case: Case, done: Done) -> Iterator[Breach]:
    """The laws that the case broke."""
    if done.raised is not None:
        yield Breach("raised", "".join(traceback.format_exception(done.raised)))
    if done.seconds > SECONDS:
        yield Breach("slow", f"took {done.seconds:.1f} s")
    if done.grew > MOST_MEMORY:
        yield Breach("memory", f"took {done.grew / 2**20:.0f} MiB more")
    if done.warned:
        yield Breach("warned", done.warned[0])
    yield from _files(case, done)
    if case.argv and done.raised is None:
        yield from _command(case, done)
    elif done.out or done.err:
        yield Breach("wrote", repr((done.out + done.err)[:300]))


def _files(case: Case, done: Done) -> Iterator[Breach]:
    told = (0, 1, 2) if case.argv[:1] == ("check",) else (0, 1)  # its page tells of the files that are whole
    asked = done.code in told and any(one.split("=")[0] in WRITING or one.startswith("-o") for one in case.argv)
    changed = [path for path in done.changed if not (asked and os.path.basename(path) in _outputs_alone(case.argv))]
    if changed:
        yield Breach("changed", f"an input: {changed}, exit code {done.code}")
    if done.appeared and (not asked or any(name.startswith("tmp") for name in done.appeared)):
        yield Breach("appeared", f"a file: {done.appeared}, exit code {done.code}")


def _outputs_alone(argv: tuple[str, ...]) -> set[str]:
    """Files that a command which reads no others than those of its line is to write, and that no other option names."""
    if argv[0] not in ("demo", "bench"):
        return set()
    separate = {value for option, value in pairwise(argv) if option in WRITING}
    written = separate | {one.partition("=")[2] for one in argv if one.partition("=")[0] in WRITING}
    return {name for name in written if sum(one == name or one.endswith(f"={name}") for one in argv) == 1}


def _command(case: Case, done: Done) -> Iterator[Breach]:
    try:
        out, err = done.out.decode(), done.err.decode()
    except UnicodeDecodeError as error:
        yield Breach("encoding", str(error))
        return
    if done.code not in CODES:
        yield Breach("code", f"exit code {done.code}\n{err}")
    hidden = [one for one in out + err if one != "\n" and unicodedata.category(one) in HIDDEN_CATEGORIES]
    if hidden:
        yield Breach(
            "control", f"{unicodedata.category(hidden[0])} {hidden[0]!r} in what was written\n{(out + err)[:2000]}"
        )
    if "Traceback (most recent" in err:
        yield Breach("traceback", err)
    addresses = ADDRESS.search(out + err)
    if addresses:
        yield Breach("address", addresses[0])
    yield from _errors(case, done, err)
    yield from _document(case, done, out, err)


def _errors(case: Case, done: Done, err: str) -> Iterator[Breach]:
    lines = err.splitlines()
    told = [line for line in lines if line.startswith(ERROR)]
    rest = [line for line in lines if not line.startswith((*CONTINUED, "attn: "))]
    if rest:
        yield Breach("stray", f"a line on stderr: {rest[0]}\n{err}")
    most = len(case.files) + 2 if case.argv[0] == "check" else 1  # it goes on with its other files
    if (len(told) > 0) != (done.code in (2, 3)) or len(told) > most:
        yield Breach("lines", f"exit code {done.code} with {len(told)} error lines\n{err}")
    if told and ("InternalError" in told[0] or "fault of attn" in err):
        yield Breach("internal", f"{told[0]}\n{err}")
    elif done.code == 3 and not RESOURCES.search(err):
        yield Breach("resource", err)


def _document(case: Case, done: Done, out: str, err: str) -> Iterator[Breach]:
    has_failed = done.code in (2, 3)
    is_asked = "--json" in takewhile(lambda argument: argument != "--", case.argv) and case.argv[0] != "record"
    if not is_asked or (not has_failed and ("--help" in case.argv or case.argv[0] == "schema")):
        if has_failed and out and case.argv[0] not in TOLD_BEFORE:
            yield Breach("stdout", f"a failure wrote to stdout: {out[:200]}")
        return
    try:
        document = json.loads(out, parse_constant=_refused)
    except ValueError as error:
        yield Breach("json", f"{error}: {out[:300]}\n{err}")
        return
    wrong = next(iter(validator(case.argv[0]).iter_errors(document)), None)
    if wrong is not None:
        yield Breach("schema", f"{wrong.message[:300]} at {list(wrong.absolute_path)}")
    elif document["exit_code"] != done.code:
        yield Breach("json", f"exit code {done.code}, in the document {document['exit_code']}")
    elif document["data"] and case.argv[0] in ("run", "demo"):
        yield from _weights(document["data"], document["findings"])


def _refused(constant: str) -> None:
    raise ValueError(f"{constant} in JSON")


@cache
def validator(command: str) -> Any:
    """What a command's documents have to be."""
    from jsonschema import Draft202012Validator

    from attn_cli.reporters.schema import COMMANDS, schema_for

    known = schema_for(command) if command in COMMANDS else {"type": "object"}
    return Draft202012Validator(known)


def _weights(data: Any, findings: Any) -> Iterator[Breach]:
    """Rows of weights sum to 1, or to 0 where all is hidden, or there is a finding that says why not."""
    rows = list(_rows(data.get("weights")))
    sinks = [value for row in _rows(data.get("sink_weights")) for value in row]
    sinks = sinks if len(sinks) == len(rows) else [0.0] * len(rows)
    for number, row in enumerate(rows):
        values = [*row, sinks[number]]
        if None in values:
            if not findings:
                yield Breach("silent", f"a weight is null and nothing says so: row {number}")
                return
        elif not any(abs(sum(values) - total) < SUM_TOLERANCE for total in (0, 1)):
            yield Breach("sum", f"row {number} of the weights sums to {sum(values)}")
            return


def _rows(value: Any) -> Iterator[list[Any]]:
    """The innermost lists."""
    if isinstance(value, dict):
        for item in value.values():
            yield from _rows(item)
    elif isinstance(value, list) and value:
        if any(isinstance(item, (list, dict)) for item in value):
            for item in value:
                yield from _rows(item)
        else:
            yield value
