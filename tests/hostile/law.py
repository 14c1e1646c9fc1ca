"""The law for everything that is wrong: one line that says so, the right exit code, and nothing else happens."""

import hashlib
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from attn_cli.reporters.schema import schema_for
from attn_cli.reporters.terminal.text import harmless
from tests.hostile.warm import Ended, warm

ERROR, HINT = "attn: error: ", "hint: "
BEYOND = 2**30  # bytes that a refusal may take beyond what a start takes
CODES = {2: ("usage", "input", "backend"), 3: ("resource",)}


def refused(
    ended: Ended, code: int = 2, *, names: object = None, says: str | tuple[str, ...] = (), expects: bool = True
) -> str:
    """Check that ``attn`` refused in the one way there is, and return its line.

    Args:
        ended: how it ended.
        code: the exit code that it has to have: 2 bad input, 3 a resource.
        names: what the line has to begin with behind ``attn: error: ``: the file's path, or an option.
        says: what else has to stand in the line, or in the hint.
        expects: the line says what was expected.
    """
    assert not ended.stdout, ended.stdout[:500]
    return _line(ended, code, names, says, expects)


def refused_as_json(
    ended: Ended,
    command: str,
    code: int = 2,
    *,
    names: object = None,
    says: str | tuple[str, ...] = (),
    expects: bool = True,
) -> dict:
    """The same with ``--json``: stderr as without it, stdout one document that validates; returns the document."""
    line = _line(ended, code, names, says, expects)
    document = ended.json
    Draft202012Validator(schema_for(command)).validate(document)
    assert (document["status"], document["exit_code"], document["data"]) == ("error", code, None)
    assert document["error"]["code"] in CODES[code], document["error"]
    assert line == ERROR + harmless(document["error"]["message"])
    return document


def told_of_each(ended: Ended, paths: Iterable[Path]) -> dict[Path, str]:
    """What one process that was given many bad files says of each: its line, and its hint behind a line break.

    Args:
        ended: of ``attn check FILE…``.
        paths: of the files, all of which it has to refuse by exit code 2.
    """
    assert not ended.stdout, ended.stdout[:500]
    _check_streams(ended, 2)
    told: dict[Path, str] = {}
    for text in ended.err.removeprefix(ERROR).split(f"\n{ERROR}"):
        path = next(path for path in paths if text.startswith(f"{path}: "))
        assert path not in told, text
        assert "expected" in text.split("\n")[0], text
        told[path] = text
    assert set(told) == set(paths)
    return told


def accepted(ended: Ended) -> Ended:
    """Check that ``attn`` did what was asked without a word of error."""
    assert not ended.timed_out
    assert ended.returncode in (0, 1), ended.err[-2000:]
    assert "Traceback" not in ended.err
    assert ERROR not in ended.err, ended.err[-2000:]
    return ended


@contextmanager
def unharmed(*folders: Path) -> Iterator[None]:
    """Check that nothing appears, vanishes or changes in these folders."""
    before = [_state(folder) for folder in folders]
    yield
    assert [_state(folder) for folder in folders] == before


@cache
def start_rss() -> int:
    """Bytes that are resident where ``attn`` starts, finds a file missing and ends."""
    return warm("run", "there-is-no-such.safetensors").max_rss


def told_of_contents(folder: Path, suffix: str, contents: Mapping[Any, bytes]) -> dict[Any, str]:
    """Write files of these contents and give what one process says of each; no other file may come of it.

    With ``--json`` it has to say the same, and to give one document, of the first of them.
    """
    paths = {case: folder / f"{number}{suffix}" for number, case in enumerate(contents)}
    for case, path in paths.items():
        path.write_bytes(contents[case])
    with unharmed(folder):
        ended = warm("check", *map(str, paths.values()), cwd=folder)
        as_json = warm("check", "--json", *map(str, paths.values()), cwd=folder)
    said = told_of_each(ended, paths.values())
    assert as_json.stderr == ended.stderr
    line, document = ended.err.split("\n", 1)[0], as_json.json
    Draft202012Validator(schema_for("check")).validate(document)
    assert (as_json.returncode, document["exit_code"], document["data"]) == (2, 2, None)
    assert line == ERROR + harmless(document["error"]["message"])
    return {case: said[path] for case, path in paths.items()}


def _check_streams(ended: Ended, code: int) -> None:
    assert not ended.timed_out, "it hangs"
    text = ended.err
    assert ended.returncode == code, (ended.returncode, text[-2000:])
    assert "Traceback" not in text, text[-2000:]
    assert all(line.isprintable() for line in text.split("\n")), ascii(text)
    assert ended.max_rss <= start_rss() + BEYOND, f"{ended.max_rss / 2**20:.0f} MiB"


def _line(ended: Ended, code: int, names: object, says: str | tuple[str, ...], expects: bool) -> str:
    _check_streams(ended, code)
    text = ended.err
    lines = text.rstrip("\n").split("\n")
    line, rest = lines[0], lines[1:]
    assert line.startswith(ERROR), text[:2000]
    assert not rest or rest[0].startswith(HINT), text[:2000]
    assert all(more.startswith("  ") for more in rest[1:]), text[:2000]
    assert names is None or line.startswith(f"{ERROR}{names}"), (line, names)
    assert "expected" in line or not expects, line
    for part in (says,) if isinstance(says, str) else says:
        assert part in text, (part, text)
    return line


def _state(folder: Path) -> dict[str, tuple[int, str]]:
    """Every path below with its kind and mode, and what a file holds or a link says."""
    return {str(path.relative_to(folder)): _content(path) for path in sorted(folder.rglob("*"))}


def _content(path: Path) -> tuple[int, str]:
    status = path.lstat()
    if stat.S_ISLNK(status.st_mode):
        return status.st_mode, str(path.readlink())
    if not stat.S_ISREG(status.st_mode):
        return status.st_mode, ""
    with path.open("rb") as file:
        return status.st_mode, hashlib.file_digest(file, "blake2b").hexdigest()
