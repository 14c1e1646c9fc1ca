"""One process that tries inputs until its time is up, with atheris or without; it may die of one."""

import contextlib
import gc
import os
import random
import resource
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from tests.fuzz.case import LONGEST, decoded
from tests.fuzz.findings import Findings
from tests.fuzz.guide import HAS_ATHERIS
from tests.fuzz.laws import breaches
from tests.fuzz.mutators.cases import crossed, mutate
from tests.fuzz.mutators.raw import Mutate, mutate_bytes
from tests.fuzz.sandbox import Sandbox
from tests.fuzz.slate import Slate
from tests.fuzz.targets import Target

TIRED = 75  # the exit code of a worker whose memory has grown, and which another should replace
FAILED = 70  # the exit code where the fuzzer itself has a fault
LARGEST = 3 * 2**29  # bytes that a worker may come to have beyond its start
MORE_ADDRESSES = 6 * 2**30
CORES = 0  # bytes of a core file
CHECK_EVERY = 256


@dataclass(frozen=True)
class Shift:
    """What a worker is to do.

    Attributes:
        target: what is fuzzed.
        corpus: a folder of inputs that reached something new; it grows.
        findings: where breaches go.
        seconds: how long; 0 is no limit.
        runs: how many inputs; 0 is no limit.
        seed: of all draws.
        guided: whether branches are counted.
    """

    target: Target
    corpus: Path
    findings: Findings
    seconds: float
    runs: int
    seed: int
    guided: bool = HAS_ATHERIS


def work(shift: Shift, slate: Slate) -> NoReturn:
    """Try inputs, then end the process: 0 when the shift is over, TIRED before that."""
    _limit()
    trial = Trial(shift.target, shift.findings, slate)
    try:
        (_guided if shift.guided else _unguided)(shift, trial)
    finally:
        trial.sandbox.close()
        os._exit(0)


class Trial:
    """Runs one input after the other under the laws."""

    def __init__(self, target: Target, findings: Findings, slate: Slate) -> None:
        self.target, self.findings, self.slate = target, findings, slate
        self.sandbox = Sandbox()
        self.is_new = False
        self._valid = tuple(target.seeds())
        self._start, self._parent = _resident(), os.getppid()
        self._count = 0

    def run(self, data: bytes) -> None:
        """One input; what it broke is kept."""
        try:
            self._run(data)
        except BaseException:  # atheris would take a fault of the fuzzer for a finding
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(FAILED)

    def _run(self, data: bytes) -> None:
        case = decoded(data)
        if case is None or not self.target.takes(case):
            self.slate.passed += 1
            return
        self.slate.begin(data)
        done = self.sandbox.run(case, self.target.does)
        if self.is_new:
            self.slate.tried += 1
        else:
            self.slate.replayed += 1
        self.slate.refused += (done.code or 0) > 1
        self.is_new = False
        for breach in breaches(case, done):
            self.slate.breaches += 1
            self.findings.keep(self.target.name, breach, data)
        self.slate.end()
        self._rest()

    def change(self, data: bytes, size: int, seed: int, raw: Mutate = mutate_bytes) -> bytes:
        """A new input out of another."""
        self.is_new = True
        return mutate(data, size, seed, raw, self._valid)

    def _rest(self) -> None:
        self._count += 1
        if self._count % CHECK_EVERY == 0:
            gc.collect()
            is_alone = os.getppid() != self._parent
            if is_alone or _resident() - self._start > LARGEST:
                self.sandbox.close()
                os._exit(TIRED)


def _guided(shift: Shift, trial: Trial) -> None:
    import atheris

    def raw(data: bytes, _draw: random.Random) -> bytes:
        return bytes(atheris.Mutate(data, min(LONGEST, 2 * len(data) + 64)))

    def change(data: bytes, size: int, seed: int) -> bytes:
        return trial.change(data, size, seed, raw)

    def cross(one: bytes, other: bytes, size: int, seed: int) -> bytes:
        trial.is_new = True
        return crossed(one, other, size, seed)

    arguments = [
        f"-max_len={LONGEST}",
        f"-seed={shift.seed}",
        "-len_control=0",
        "-mutate_depth=2",
        "-timeout=100000",
        "-rss_limit_mb=0",
        "-reload=0",
    ]
    handled = ("abrt", "bus", "fpe", "ill", "int", "segv", "term", "xfsz", "usr1", "usr2")
    arguments += [f"-handle_{name}=0" for name in handled]
    arguments += [f"-max_total_time={max(1, round(shift.seconds))}"] if shift.seconds else []
    arguments += [f"-runs={shift.runs}"] if shift.runs else []
    atheris.Setup(
        [sys.argv[0], *arguments, str(shift.corpus)], trial.run, custom_mutator=change, custom_crossover=cross
    )
    atheris.Fuzz()


def _unguided(shift: Shift, trial: Trial) -> None:
    draw = random.Random(shift.seed)
    pool = [path.read_bytes() for path in sorted(shift.corpus.iterdir())]
    until = time.monotonic() + shift.seconds if shift.seconds else float("inf")
    runs = 0
    while time.monotonic() < until and (not shift.runs or runs < shift.runs):
        data = draw.choice(pool)
        if draw.random() < 0.1:
            data = crossed(data, draw.choice(pool), LONGEST, draw.getrandbits(32))
        trial.run(trial.change(data, LONGEST, draw.getrandbits(32)))
        runs += 1


def _limit() -> None:
    """No core files, and no more addresses than a machine has room for; what asks for more gets an error."""
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (CORES, CORES))
        resource.setrlimit(resource.RLIMIT_AS, (_addresses() + MORE_ADDRESSES, resource.RLIM_INFINITY))


def _resident() -> int:
    return _pages(1)


def _addresses() -> int:
    return _pages(0)


def _pages(column: int) -> int:
    try:
        return int(Path("/proc/self/statm").read_text().split()[column]) * resource.getpagesize()
    except OSError:
        return 0
