"""What ``attn record`` and the program that it runs tell each other. Free of torch.

The program's process finds its job in an environment variable, which is gone before anything of the program runs, and
leaves in a folder what it writes and, in the end, what it has to say of it.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from attn_cli.recording.options import RecordOptions

INJECTED = Path(__file__).with_name("injected")
JOB = "ATTN_RECORD_JOB"
PYTHONPATH = "PYTHONPATH"
OWN_PYTHONPATH = "ATTN_RECORD_PYTHONPATH"
ROOM = 2**16  # bytes of what is told, taken at the start
MOST, LONGEST = 20, 200  # reasons or modules, and characters of each, where there is more to tell than room


@dataclass(frozen=True)
class RecordJob:
    """What a program's process is to do beside the program.

    Attributes:
        start: module with a function ``start`` that takes the job's text, once torch has been imported.
        folder: where to leave what is recorded.
        stats: whether to keep what inspecting the calls gives instead of the calls.
        options: which calls.
    """

    start: str
    folder: str
    stats: bool
    options: RecordOptions

    @property
    def data(self) -> Path:
        """The tensors of a capture."""
        return Path(self.folder, "data")

    @property
    def index(self) -> Path:
        """A line for each call of a capture."""
        return Path(self.folder, "index")

    @property
    def lines(self) -> Path:
        """A line for each call that was inspected."""
        return Path(self.folder, "lines")

    @property
    def told(self) -> Path:
        """What :class:`Told` is, as JSON; there as soon as somebody listens."""
        return Path(self.folder, "told")

    def as_text(self) -> str:
        """JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_text(cls, text: str) -> RecordJob:
        """What :meth:`as_text` gave."""
        values = json.loads(text)
        return cls(**{**values, "options": _options(values["options"])})


def _options(values: Mapping[str, Any]) -> RecordOptions:
    heads = values["heads"]
    options = RecordOptions(**values)
    return replace(options, layers=tuple(options.layers), heads=None if heads is None else tuple(heads))


@dataclass(frozen=True)
class Told:
    """What the program's process has to say when it ends, or where something changes.

    Attributes:
        calls: attention calls that were heard.
        passed_over: why calls that were meant to be kept were not, and how many.
        why_full: what there was no more room for: ``"bytes"``, ``"names"`` or, beside a fault, ``"disk"``; or None.
        fault: what went wrong in the recording itself and ended it, or None.
        modules: paths of modules that made calls, the first of them.
        has_compiled: whether the program has used ``torch.compile``.
        is_final: True where the program came to its end in an orderly way, so that this is all.
    """

    calls: int = 0
    passed_over: tuple[tuple[str, int], ...] = ()
    why_full: str | None = None
    fault: str | None = None
    modules: tuple[str, ...] = ()
    has_compiled: bool = False
    is_final: bool = False

    def write(self, path: Path) -> None:
        """Write over what was told before, in as much room: what was told once can be told anew on a full disk.

        Raises:
            OSError: where the disk refuses.
        """
        with path.open("r+b" if path.exists() else "xb", buffering=0) as file:
            written = file.write(self._as_bytes().ljust(ROOM))
            if written != ROOM:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _as_bytes(self) -> bytes:
        """JSON of at most ``ROOM`` bytes."""
        text = _json(self)
        return text if len(text) <= ROOM else _json(self._in_short())

    def _in_short(self) -> Told:
        return replace(
            self,
            passed_over=tuple((why[:LONGEST], number) for why, number in self.passed_over[:MOST]),
            fault=None if self.fault is None else self.fault[:LONGEST],
            modules=tuple(module[:LONGEST] for module in self.modules[:MOST]),
        )

    @classmethod
    def read(cls, path: Path) -> Told | None:
        """What was told, None where nobody has listened; nothing in particular where it was not told to its end."""
        if not path.exists():
            return None
        try:
            values = json.loads(path.read_bytes().decode("utf-8", "surrogatepass"))
        except ValueError:
            return cls()
        passed_over = tuple((reason, count) for reason, count in values.pop("passed_over", ()))
        return cls(passed_over=passed_over, modules=tuple(values.pop("modules", ())), **values)


def _json(told: Told) -> bytes:
    return json.dumps(asdict(told), ensure_ascii=False).encode("utf-8", "surrogatepass")


def environment_for(job: RecordJob, environment: Mapping[str, str]) -> dict[str, str]:
    """The environment that brings the job to a Python process; that process restores what it was.

    Args:
        job: what to do.
        environment: to add it to.
    """
    before = environment.get(PYTHONPATH)
    own = {} if before is None else {OWN_PYTHONPATH: before}
    path = os.pathsep.join([str(INJECTED), *([before] if before else [])])
    return {**environment, **own, PYTHONPATH: path, JOB: job.as_text()}
