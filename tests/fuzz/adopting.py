"""Takes an input into the regression corpus, with the answer that it gets now: read that before it is believed."""

import sys
from dataclasses import replace
from pathlib import Path

from tests.fuzz.case import Case, decoded
from tests.fuzz.laws import ERROR, breaches
from tests.fuzz.sandbox import Done, Sandbox
from tests.fuzz.seeds import files
from tests.fuzz.targets import command

CORPUS = Path(__file__).parent / "corpus"


def adopt(path: Path, name: str, why: str) -> int:
    """Write a case of the corpus; the exit code is 1 where it still breaks a law.

    Args:
        path: of the input.
        name: says what is in it.
        why: what it once did, or could do.
    """
    case = decoded(path.read_bytes())
    if case is None:
        sys.stdout.write(f"{path}: is no case\n")
        return 1
    case = case if case.argv else _as_command(case)
    sandbox = Sandbox()
    try:
        done = sandbox.run(case, command)
    finally:
        sandbox.close()
    broken = list(breaches(case, done))
    for breach in broken:
        sys.stdout.write(f"it still breaks {breach.law}: {breach.told[:500]}\n")
    if broken:
        return 1
    expected = {"exit": done.code, "says": says(case, done), "why": why}
    (CORPUS / f"{name}.case").write_bytes(replace(case, expected=expected).encoded())
    sys.stdout.write(f"{name}: exit code {done.code}, {expected['says']!r}\n")
    return 0


def _as_command(case: Case) -> Case:
    """The case with a command line that has its file read."""
    name = case.files[0][0]
    if name.startswith(("tokens", "ids")):
        return Case(("run", "heads.safetensors", "--tokens", name), (*case.files, *files()["heads.safetensors"]))
    if name.startswith("tokenizer"):
        line = ("run", "masked.safetensors", "--tokens", "token_ids", "--tokenizer", name)
        return Case(line, (*case.files, *files()["masked.safetensors"]))
    return Case(_reading(name), case.files)


def _reading(name: str) -> tuple[str, ...]:
    if name.endswith(".npy"):
        return ("run", "--q", name, "--k", name, "--v", name)
    if name.startswith("baseline"):
        return ("bench", "--baseline", name)
    return ("run", name, "--num-heads", "2") if name.startswith("mod") else ("run", name)


def says(case: Case, done: Done) -> str:
    """What was found, out of the error's line, without the file's name; nothing where it was accepted."""
    line = next((line for line in done.err.decode().splitlines() if line.startswith(ERROR)), "")
    told = line.removeprefix(ERROR).partition("; expected")[0]
    for name, _ in case.files:
        told = told.removeprefix(f"{name}: ")
    return told
