"""Runs workers one after the other: where one dies of an input, that is kept and the next goes on."""

import faulthandler
import os
import re
import signal
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.fuzz.laws import Breach
from tests.fuzz.slate import Slate
from tests.fuzz.worker import FAILED, TIRED, Shift, work

LONGEST_CPU = 10.0  # seconds of one input: no hang
LONGEST_WAIT = 120.0  # seconds of one input that waits and does not compute
POLL = 0.1
SEED = "seed-"
COVERED = re.compile(rb"cov: (\d+) ft: (\d+)")


@dataclass
class Tally:
    """What became of a target.

    Attributes:
        tried: new inputs that were run.
        passed: inputs that were none for the target.
        replayed: inputs of the corpus, run again to know their branches.
        refused: of all that were run, those that were answered with an error.
        seconds: of the clock.
        edges, features: branches that were taken, and with how often; None without atheris.
        corpus: inputs that reached something new, with the seeds.
        workers: how many processes it took.
        deaths: how many of them an input killed.
        new: kinds of findings that were not there before.
    """

    tried: int = 0
    passed: int = 0
    replayed: int = 0
    refused: int = 0
    breaches: int = 0
    seconds: float = 0.0
    edges: int | None = None
    features: int | None = None
    corpus: int = 0
    workers: int = 0
    deaths: int = 0
    new: list[str] = field(default_factory=list)


def run_target(shift: Shift, log: Path) -> Tally:
    """Fuzz a target for the shift's time or number of runs, with as many workers as that takes."""
    _plant_seeds(shift)
    before = shift.findings.names()
    tally, start = Tally(), time.monotonic()
    is_over = False
    while not is_over:
        left = shift.seconds - (time.monotonic() - start) if shift.seconds else 0.0
        runs = shift.runs - tally.tried - tally.passed if shift.runs else 0
        if (shift.seconds and left <= 0) or (shift.runs and runs <= 0):
            break
        turn = replace(shift, seconds=left, runs=runs, seed=shift.seed + tally.workers)
        tally.workers += 1
        is_over = _one_worker(turn, log, tally)
    tally.seconds = time.monotonic() - start
    tally.corpus = sum(1 for _ in shift.corpus.iterdir())
    tally.new = sorted(shift.findings.names() - before)
    return tally


def _plant_seeds(shift: Shift) -> None:
    """The seeds as they are now, and of what was kept not more than can be run again in a part of the time."""
    shift.corpus.mkdir(parents=True, exist_ok=True)
    kept = sorted(path for path in shift.corpus.iterdir() if not path.name.startswith(SEED))
    for path in kept[shift.target.kept :]:  # their names are hashes
        path.unlink()
    for number, case in enumerate(shift.target.seeds()):
        (shift.corpus / f"{SEED}{number:03d}").write_bytes(case.encoded())


def _one_worker(turn: Shift, log: Path, tally: Tally) -> bool:
    """Start a worker and watch it to its end; False where another should go on."""
    slate = Slate()
    with open(log, "wb") as file:
        worker = os.fork()
        if not worker:
            _become(turn, slate, file.fileno())
        code = _watch(worker, slate)
    data, _ = slate.look()
    _add_up(tally, slate, log.read_bytes())
    if code == TIRED:
        return False
    if data and code != FAILED:
        tally.deaths += 1
        tally.tried += 1
        turn.findings.keep(turn.target.name, Breach("died", _how(code)), data)
        return False
    if code:
        raise RuntimeError(f"the fuzzer itself failed, exit code {code}; see {log}")
    return True


def _become(turn: Shift, slate: Slate, stderr: int) -> None:
    """In the new process: write to the log, and work."""
    try:
        os.nice(10)
        faulthandler.disable()  # the watcher says what killed it
        os.dup2(stderr, 1)
        os.dup2(stderr, 2)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        work(turn, slate)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        sys.stderr.flush()
    finally:
        os._exit(1)


def _watch(worker: int, slate: Slate) -> int:
    """Wait for its end; kill it where an input takes too long. Its exit code, negative for a signal."""
    begun, used = b"", 0.0
    try:
        while True:
            ended, status = os.waitpid(worker, os.WNOHANG)
            if ended:
                return os.waitstatus_to_exitcode(status)
            time.sleep(POLL)
            data, seconds = slate.look()
            if data != begun or seconds < 2 * POLL:
                begun, used = data, _cpu(worker)
            if data and (_cpu(worker) - used > LONGEST_CPU or seconds > LONGEST_WAIT):
                os.kill(worker, signal.SIGKILL)
    except BaseException:
        os.kill(worker, signal.SIGKILL)
        os.waitpid(worker, 0)
        raise


def _cpu(worker: int) -> float:
    """Seconds that a process has computed; those of the clock where the system does not say."""
    try:
        fields = Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return time.monotonic()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _how(code: int) -> str:
    if code >= 0:
        return f"the process ended with exit code {code}"
    return f"the process was killed by {signal.Signals(-code).name}"


def _add_up(tally: Tally, slate: Slate, log: bytes) -> None:
    for name in ("tried", "passed", "replayed", "refused", "breaches"):
        setattr(tally, name, getattr(tally, name) + getattr(slate, name))
    covered = COVERED.findall(log)
    if covered:
        tally.edges = max(tally.edges or 0, int(covered[-1][0]))
        tally.features = max(tally.features or 0, int(covered[-1][1]))
