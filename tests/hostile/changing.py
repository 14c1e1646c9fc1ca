"""Changes a file at a moment that a test chooses, in the process that reads it: the text is for `warm(before=…)`."""

import importlib
import itertools
import os
from functools import reduce
from pathlib import Path

OTHER = ".other"  # behind a file's name: the one that it is replaced by


def change_at(moment: str, path: Path, change: str, number: int = 1) -> str:
    """Python that arms a process.

    Args:
        moment: ``"module:function"`` or ``"module:Class.method"``: as soon as it has returned.
        path: of the file; only calls count that were given it, or a file that is open there.
        change: of :data:`CHANGES`.
        number: which of these calls is the moment.
    """
    return f"from tests.hostile.changing import arm; arm({moment!r}, {str(path)!r}, {change!r}, {number})"


def arm(moment: str, path: str, change: str, number: int) -> None:
    """Do in this process what :func:`change_at` says."""
    module, _, name = moment.partition(":")
    *owners, last = name.split(".")
    owner = reduce(getattr, owners, importlib.import_module(module))
    plain, calls = getattr(owner, last), itertools.count(1)

    def watched(*arguments: object, **options: object) -> object:
        found = plain(*arguments, **options)
        if any(path in (one, _path(one), _path(getattr(one, "file", None))) for one in arguments) and (
            next(calls) == number
        ):
            CHANGES[change](Path(path))
        return found

    setattr(owner, last, watched)


def _path(one: object) -> object:
    return getattr(one, "path", None)


def cut(path: Path) -> None:
    os.truncate(path, 4096 if path.stat().st_size > 4096 else path.stat().st_size // 2)


def write(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(-8, os.SEEK_END)
        file.write(b"\0\0\x80\x3f" * 2)


def overwrite(path: Path) -> None:
    path.write_bytes(path.with_name(path.name + OTHER).read_bytes())


def touch(path: Path) -> None:
    os.utime(path, ns=(1, 1))


def replace(path: Path) -> None:
    path.with_name(path.name + OTHER).rename(path)


def become_a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


CHANGES = {
    "cut": cut,
    "written to": write,
    "written over": overwrite,
    "touched": touch,
    "replaced": replace,
    "removed": Path.unlink,
    "a pipe": become_a_pipe,
}
