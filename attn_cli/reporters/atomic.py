"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from contextvars import ContextVar
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

from attn_cli.errors import ResourceError, UsageError
from attn_cli.inputs.text import shown
from attn_cli.interruption import held_back, mark_unfinished, remove_unfinished

SHOWN = 50  # characters of it in the name that the file has meanwhile
NEW, PERMISSIONS = 0o666, 0o777
_ATTEMPTS = 100


class _Whole(NamedTuple):
    """A file that is written and waits for its name."""

    path: str | os.PathLike[str]
    temporary: Path
    target: Path


_waiting: ContextVar[list[_Whole] | None] = ContextVar("waiting", default=None)


@contextmanager
def together() -> Iterator[None]:
    """Give the files that are written in the block their names when all are whole; where one fails, none gets it.

    Where one is refused its name, those that have theirs give it back; on a disk without hard links what was replaced
    by then stays replaced.

    Raises:
        ResourceError: where the disk refuses a name.
    """
    whole: list[_Whole] = []
    token = _waiting.set(whole)
    try:
        yield
        with held_back() if len(whole) > 1 else nullcontext():  # no signal comes between two of them
            _give_names(whole)
    finally:
        _waiting.reset(token)
        for one in whole:
            remove_unfinished(one.temporary)


def _give_names(whole: list[_Whole]) -> None:
    with ExitStack() as removing, ExitStack() as undoing:
        for one in whole:
            with naming(one.path):
                take_back = None if one is whole[-1] else _way_back(one.target, removing)
                os.replace(one.temporary, one.target)
            if take_back is not None:
                undoing.callback(take_back)
        undoing.pop_all()


def _way_back(target: Path, removing: ExitStack) -> Callable[[], None] | None:
    """What makes a name again what it was before a file got it; None where this disk has no way.

    Meanwhile what is there has a second name, so that at any moment it is on the disk or replaced as a whole.

    Args:
        target: the name.
        removing: is to remove the second name.
    """

    def take_back() -> None:
        with contextlib.suppress(OSError):
            if older is None:
                target.unlink()
            else:
                os.replace(older, target)

    older = None
    try:
        older = _made_beside(target, lambda candidate: os.link(target, candidate))
        mark_unfinished(older)
        removing.callback(remove_unfinished, older)
    except FileNotFoundError:  # nothing was there
        pass
    except OSError:
        return None
    return take_back


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Write a file under another name beside ``path``, and give it its name when it is whole.

    Until then whatever was at ``path`` stays as it is, and where the body fails, or a signal ends attn, it stays for
    good. The new file has the permissions of the one it replaces, and its owner where that is allowed, else those of
    any new file. A symbolic link is followed, so the file behind it is replaced; another name of the same file, a hard
    link, keeps what it had. What is written is on the disk before it gets its name; within :func:`together` it waits
    for the others.

    Args:
        path: where the file shall be in the end.

    Yields:
        The path to write to in the meantime; an empty file is there.

    Raises:
        ResourceError: where the disk refuses, or ``path`` is something else than a file.
        OSError: of the body, where it names another file.
    """
    temporary: Path | None = None
    others = _waiting.get()
    try:
        with naming(path):
            _refuse_folder_name(os.fspath(path))
            target = _target(path)
            replaced = target.stat() if target.exists() else None
            with held_back():
                temporary = _new_file_beside(target, NEW if replaced is None else _of_any_group(replaced.st_mode))
                mark_unfinished(temporary)
            usual = stat.S_IMODE(temporary.stat().st_mode)
        with naming(path, only=temporary):
            yield temporary
        with naming(path):
            _set_owner(temporary, usual, replaced)  # a writer may have put a file of its own in its place
            _flush_to_disk(temporary)
            if others is None:
                os.replace(temporary, target)
            else:
                others.append(_Whole(path, temporary, target))
                temporary = None
    finally:
        if temporary is not None:
            remove_unfinished(temporary)


@contextmanager
def naming(path: str | os.PathLike[str], *, only: Path | None = None) -> Iterator[None]:
    """Have what the disk refuses in the block told as this file's.

    Args:
        path: of the file.
        only: leave alone what names another file than this one, such as one that is read meanwhile.

    Raises:
        ResourceError: where the disk refuses.
    """
    try:
        yield
    except OSError as error:
        named = [os.fspath(name) for name in (error.filename, error.filename2) if isinstance(name, str | os.PathLike)]
        if only is not None and named and str(only) not in named:
            raise
        raise ResourceError(
            f"{path}: cannot be written: {error.strerror or error}; expected a writable file"
        ) from error


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
        if other is not None and path and is_same(path, other):
            what = "the input" if os.path.exists(other) else "the other output"
            raise UsageError(f"{option} {path}: would replace {what} {other}; expected another name")
    check_folder(path)


def check_apart(outputs: Mapping[str, str]) -> None:
    """Refuse two outputs that are one file.

    Args:
        outputs: the path of each, by the option that names it.

    Raises:
        UsageError: naming the first two.
    """
    for (_, earlier), (option, path) in combinations(outputs.items(), 2):
        if is_same(path, earlier):
            raise UsageError(f"{option} {path}: would replace the other output {earlier}; expected another name")


def is_same(path: str, other: str) -> bool:
    """Whether both names are one file, or would be: through links of both kinds, and where there is none yet."""
    if os.path.exists(path) and os.path.exists(other):
        return os.path.samefile(path, other)
    try:
        return os.path.realpath(path) == os.path.realpath(other)
    except OSError:  # the working folder is gone, and what is in it is nothing
        return False


def check_folder(path: str) -> None:
    """Refuse a place that no file can be written to, before there is anything to write.

    Raises:
        UsageError: where the file is what standard input, output or error is read from or written to, is asked for
            as ``-``, or looks like an option.
        ResourceError: where there is no name, something else than a file has it, the file is write-protected, or the
            folder is missing or may not be written to.
    """
    if path == "-":
        raise UsageError("-: standard output is not written to; expected the name of a file", "./- is a file named -")
    if path.startswith("-"):  # the next option, where the name was forgotten
        hint = f"or ./{shown(path)}"
        raise UsageError(f"{path}: is no name of an output; expected the name of a file", hint)
    if not path:
        raise ResourceError("'': cannot be written: the name is empty; expected a writable file")
    try:
        _refuse_folder_name(path)
        _refuse_own_streams(path)
        target = _target(path)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ResourceError(f"{path}: cannot be written: {reason}; expected a writable file") from None
    folder = os.path.dirname(target)
    if not os.path.isdir(folder):
        raise ResourceError(f"{path}: cannot be written: no such folder; expected a writable file")
    if not os.access(folder, os.W_OK):
        raise ResourceError(f"{path}: cannot be written: its folder is read-only; expected a writable file")
    if os.path.exists(target) and not os.access(target, os.W_OK):
        raise ResourceError(f"{path}: cannot be written: it is write-protected; expected a writable file")


def _refuse_folder_name(path: str) -> None:
    """What a name such as ``new/`` or ``new/.`` asks for is a folder, also where there is none yet."""
    if os.path.basename(path) in ("", os.curdir, os.pardir):
        raise OSError("it is the name of a folder")


def _target(path: str | os.PathLike[str]) -> Path:
    """The file behind every link; none where that is something else, or was removed while it is open.

    The system's link to an open file that was removed says ``x (deleted)``, which names nothing.
    """
    _refuse_special(Path(path))
    target = Path(os.path.realpath(path))
    if os.path.exists(path) and not target.exists():
        raise OSError("the file behind it was removed")
    if _is_mounted(target):
        raise OSError("a disk or file is mounted onto it")
    return target


def _is_mounted(target: Path) -> bool:
    """Whether something is mounted onto this file, as containers have it: its name cannot be given to another."""
    if not hasattr(os, "O_PATH"):  # only Linux mounts onto files
        return False
    try:
        return _mount_of(target) != _mount_of(target.parent)
    except OSError:  # there is nothing, or nobody tells
        return False


def _mount_of(path: Path) -> list[str]:
    """The number of the mount that a path is in: bound to a file of the same disk, only that is another."""
    handle = os.open(path, os.O_PATH)
    try:
        lines = Path(f"/proc/self/fdinfo/{handle}").read_text(encoding="ascii").splitlines()
    finally:
        os.close(handle)
    return [line for line in lines if line.startswith("mnt_id:")]


def _refuse_special(target: Path) -> None:
    """A device or a folder must not be replaced by a file."""
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode):
        raise OSError("is no regular file")


def _refuse_own_streams(path: str) -> None:
    """What flows through the standard streams would be lost with the file that it flows through."""
    if not os.path.isfile(path):
        return
    for number, name in enumerate(("input", "output", "error")):
        with contextlib.suppress(OSError):  # a stream that is closed
            if os.path.samestat(os.fstat(number), os.stat(path)):
                raise UsageError(f"{path}: would replace standard {name}; expected another name")


def _new_file_beside(target: Path, permissions: int) -> Path:
    """An empty file in the target's folder, which nobody has more rights to than the process gives to new files."""

    def make(candidate: Path) -> None:
        os.close(os.open(candidate, os.O_CREAT | os.O_EXCL | os.O_WRONLY, permissions))

    return _made_beside(target, make)


def _made_beside(target: Path, make: Callable[[Path], None]) -> Path:
    """A hidden file in the target's folder, made under the first name that is free."""
    for attempt in range(_ATTEMPTS):
        candidate = target.with_name(f".{target.name[:SHOWN]}.{os.getpid()}.{attempt}.tmp")
        with contextlib.suppress(FileExistsError):
            make(candidate)
            return candidate
    raise FileExistsError(f"{_ATTEMPTS} unfinished files are beside it")


def _set_owner(temporary: Path, usual: int, replaced: os.stat_result | None) -> None:
    """Give the file the permissions it shall have; the owner of what it replaces too, where the process may do that."""
    if replaced is None:
        os.chmod(temporary, usual)
        return
    for owner in (replaced.st_uid, -1):  # whoever may not give a file away may still give it to a group of theirs
        with contextlib.suppress(OSError, AttributeError):
            os.chown(temporary, owner, replaced.st_gid)
            break
    has_its_group = temporary.stat().st_gid == replaced.st_gid
    os.chmod(temporary, PERMISSIONS & replaced.st_mode if has_its_group else _of_any_group(replaced.st_mode))


def _of_any_group(mode: int) -> int:
    """Permissions without what is one group's alone, and would be another's."""
    return PERMISSIONS & mode & (~stat.S_IRWXG | (mode & stat.S_IRWXO) << 3)


def _flush_to_disk(path: Path) -> None:
    """Wait until the contents are on the disk, so that no crash leaves the name without them."""
    handle = os.open(path, os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
