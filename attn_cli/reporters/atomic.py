"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from attn_cli.errors import ResourceError, UsageError

_ATTEMPTS = 100


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Write a file under another name beside ``path``, and give it its name when it is whole.

    Until then whatever was at ``path`` stays as it is, and where the body fails it stays for good. The new file has
    the permissions of any new file; a symbolic link is followed, so the file behind it is replaced.

    Args:
        path: where the file shall be in the end.

    Yields:
        The path to write to in the meantime; an empty file is there.

    Raises:
        ResourceError: where the disk refuses, or ``path`` is something else than a file.
    """
    target = Path(os.path.realpath(path))
    temporary: Path | None = None
    try:
        _refuse_special(target)
        temporary = _new_file_beside(target)
        permissions = stat.S_IMODE(temporary.stat().st_mode)
        yield temporary
        os.chmod(temporary, permissions)  # a writer may have put a file of its own in its place
        _flush_to_disk(temporary)
        os.replace(temporary, target)
        temporary = None
    except OSError as error:
        raise ResourceError(
            f"{path}: cannot be written: {error.strerror or error}; expected a writable file"
        ) from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)


def check_output(
    option: str, path: str, other_suffixes: tuple[str, ...], is_written: str, onto: Iterable[str | None] = ()
) -> None:
    """Refuse a place that an output cannot be written to, before there is anything to write.

    Args:
        option: that names it.
        path: where to.
        other_suffixes: of names that promise another format, in lower case.
        is_written: what it is written as, and which name is expected.
        onto: files that are read, or written besides, and must not be replaced; None is no file.

    Raises:
        UsageError: where the suffix is one of those, or the file is.
        ResourceError: as :func:`check_folder`.
    """
    if path.lower().endswith(other_suffixes):
        raise UsageError(f"{option} {path}: {is_written}")
    for other in onto:
        if other is not None and path and _is_same(path, other):
            what = "the input" if os.path.exists(other) else "the other output"
            raise UsageError(f"{option} {path}: would replace {what} {other}; expected another name")
    check_folder(path)


def _is_same(path: str, other: str) -> bool:
    if os.path.exists(path) and os.path.exists(other):
        return os.path.samefile(path, other)
    return os.path.realpath(path) == os.path.realpath(other)


def check_folder(path: str) -> None:
    """Refuse a place that no file can be written to, before there is anything to write.

    Raises:
        ResourceError: where there is no name, something else than a file has it, or the folder is missing or may not be
            written to.
    """
    if not path:
        raise ResourceError("'': cannot be written: the name is empty; expected a writable file")
    try:
        _refuse_special(Path(os.path.realpath(path)))
    except OSError as error:
        raise ResourceError(f"{path}: cannot be written: {error.strerror or error}; expected a writable file") from None
    folder = os.path.dirname(os.path.realpath(path))
    if not os.path.isdir(folder):
        raise ResourceError(f"{path}: cannot be written: no such folder; expected a writable file")
    if not os.access(folder, os.W_OK):
        raise ResourceError(f"{path}: cannot be written: its folder is read-only; expected a writable file")


def _refuse_special(target: Path) -> None:
    """A device or a folder must not be replaced by a file."""
    if target.exists() and not stat.S_ISREG(target.stat().st_mode):
        raise OSError("is no regular file")


def _new_file_beside(target: Path) -> Path:
    """An empty file in the target's folder, with the permissions that the process gives to new files."""
    for attempt in range(_ATTEMPTS):
        candidate = target.with_name(f".{target.name}.{os.getpid()}.{attempt}.tmp")
        with contextlib.suppress(FileExistsError):
            os.close(os.open(candidate, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
            return candidate
    raise FileExistsError(f"{_ATTEMPTS} unfinished files are beside it")


def _flush_to_disk(path: Path) -> None:
    """Wait until the contents are on the disk, so that no crash leaves the name without them."""
    handle = os.open(path, os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
