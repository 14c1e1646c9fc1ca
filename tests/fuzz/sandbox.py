"""Where a case runs in this process: a folder and streams of its own, and a count of what it cost."""

import contextlib
import io
import os
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.case import Case

IN_MEMORY = Path("/dev/shm")
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
PEAK_IN_BYTES = b"VmHWM:"
IGNORED = (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning)
TORCHS_CACHE = "TORCHINDUCTOR_CACHE_DIR"
TORCHS_OWN = r"torch(\.|$)"


@dataclass(frozen=True)
class Done:
    """What became of a case.

    Attributes:
        code: the exit code, or None where something was raised.
        raised: what was raised.
        out, err: what was written, also by libraries.
        warned: warnings that a person would have seen.
        appeared, changed: names of files, inside the folder and among the temporary ones.
        grew: bytes of memory that were resident at most, beyond those before; 0 where that cannot be known.
        seconds: of this process's CPU.
    """

    code: int | None
    raised: BaseException | None
    out: bytes
    err: bytes
    warned: tuple[str, ...]
    appeared: tuple[str, ...]
    changed: tuple[str, ...]
    grew: int
    seconds: float


class Sandbox:
    """A folder that is emptied before every case; the process stays in it."""

    def __init__(self) -> None:
        place = IN_MEMORY if os.access(IN_MEMORY, os.W_OK) else None
        self.root = Path(tempfile.mkdtemp(prefix="attn-fuzz-", dir=place))
        self.work, self.temporary = self.root / "work", self.root / "tmp"
        self._before = {name: os.environ.get(name) for name in ("TMPDIR", "COLUMNS", "HOME", TORCHS_CACHE)}
        self._left = Path.cwd()
        os.environ.update(TMPDIR=str(self.temporary), COLUMNS="80", HOME=str(self.root / "home"))
        os.environ[TORCHS_CACHE] = str(self.root / "cache")
        tempfile.tempdir = str(self.temporary)

    def close(self) -> None:
        """Leave the folder and remove it."""
        os.chdir(self._left)
        tempfile.tempdir = None
        for name, value in self._before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        shutil.rmtree(self.root, ignore_errors=True)

    def run(self, case: Case, does: Callable[[Case], int]) -> Done:
        """Lay out the case's files, do it, and look at what it did."""
        self._lay_out(case)
        before = self._files()
        code, raised = None, None
        with _streams(case.piped) as written, _warnings() as told, _peak() as grew:
            start = time.process_time()
            try:
                code = does(case)
            except SystemExit as stopped:
                code, raised = (stopped.code, None) if isinstance(stopped.code, int) else (None, stopped)
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # whatever it is, it is what the laws are about
                raised = error
            seconds = time.process_time() - start
        after = self._files()
        appeared = tuple(sorted(after.keys() - before.keys()))
        changed = tuple(sorted(name for name in before if after.get(name) != before[name]))
        warned = tuple(f"{one.category.__name__}: {one.message}" for one in told)
        return Done(code, raised, written[0], written[1], warned, appeared, changed, grew[0], seconds)

    def _lay_out(self, case: Case) -> None:
        for folder in (self.work, self.temporary):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
        os.chdir(self.work)
        for name, content in case.on_disk:
            if is_plain(name):
                (self.work / name).write_bytes(content)

    def _files(self) -> dict[str, bytes | None]:
        """Each file's content by its name; None for what is no file."""
        found = {}
        for folder in (self.work, self.temporary):
            for path in folder.rglob("*"):
                found[str(path.relative_to(self.root))] = path.read_bytes() if path.is_file() else None
        return found


def is_plain(name: str) -> bool:
    """Whether it is the name of a file in this folder, as the fuzzer's have to be."""
    return name not in ("", ".", "..") and not {"/", "\0"} & set(name) and len(os.fsencode(name)) < 200


def _text(number: int) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.FileIO(number, "w", closefd=False), encoding="utf-8", write_through=True)


@contextlib.contextmanager
def _streams(piped: bytes) -> Iterator[list[bytes]]:
    """Collect what is written to the process's stdout and stderr, and let stdin hold these bytes."""
    written: list[bytes] = []
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(number) for number in range(3)]
    python = sys.stdin, sys.stdout, sys.stderr
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        given.write(piped)
        given.seek(0)
        for number, file in enumerate((given, out, err)):
            os.dup2(file.fileno(), number)
        sys.stdin = open(0, closefd=False, encoding="utf-8")  # noqa: SIM115
        sys.stdout, sys.stderr = _text(1), _text(2)
        try:
            yield written
        finally:
            sys.stdin, sys.stdout, sys.stderr = python
            for number, old in enumerate(kept):
                os.dup2(old, number)
                os.close(old)
            for file in (out, err):
                file.seek(0)
                written.append(file.read())


@contextlib.contextmanager
def _warnings() -> Iterator[list[warnings.WarningMessage]]:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for kind in IGNORED:
            warnings.simplefilter("ignore", kind)
        warnings.filterwarnings("ignore", category=FutureWarning, module=TORCHS_OWN)
        yield told


@contextlib.contextmanager
def _peak() -> Iterator[list[int]]:
    """How much more memory was resident at the height of it than before."""
    grew = [0]
    with contextlib.suppress(OSError):
        CLEAR.write_text("5")
    before = _high_water()
    yield grew
    grew[0] = max(0, _high_water() - before)


def _high_water() -> int:
    try:
        lines = STATUS.read_bytes().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(PEAK_IN_BYTES)), 0)
