"""What attn record costs: a program's time and memory when it runs plainly, with --stats and with a full capture.

    python docs/benchmarks/record_overhead.py [--runs N] [--json FILE]

Each kind runs as a process of its own, the kinds by turns; the median is taken of the seconds that the program spent in
its calls (it says so itself) and of the whole process, and of the peak of the program's resident set. Every run of a
case must print the same number, the sum of its results.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

PROGRAM = Path(__file__).with_name("attention_program.py")
KINDS = ("plain", "stats", "capture")


@dataclass(frozen=True)
class Case:
    """A length and how many calls."""

    length: int
    calls: int
    block: bool = False

    @property
    def arguments(self) -> list[str]:
        """For the program."""
        block = ["--block"] if self.block else []
        return [str(PROGRAM), "--length", str(self.length), "--calls", str(self.calls), *block]

    @property
    def name(self) -> str:
        """``"512 × 64 calls"``."""
        return f"{self.length} × {self.calls} calls{', whole blocks' if self.block else ''}"


CASES = (
    Case(512, 64), Case(512, 256), Case(4096, 8), Case(4096, 24), Case(512, 64, block=True), Case(4096, 8, block=True)
)  # fmt: skip


@dataclass(frozen=True)
class Sample:
    """One run: seconds in the calls, seconds of the process, peak of the resident set in MiB, what the program said."""

    calls: float
    process: float
    peak: float
    said: str


def run(case: Case, kind: str, folder: Path) -> Sample:
    """Run the program once."""
    out = folder / ("out.jsonl" if kind == "stats" else "out.safetensors")
    record = [sys.executable, "-m", "attn_cli", "record", "--quiet", "-o", str(out)]
    command = {"plain": [sys.executable], "stats": [*record, "--stats"], "capture": record}[kind]
    peaks = folder / "peak"
    watched = [sys.executable, "-c", WATCH, str(peaks), *command, *case.arguments]
    start = time.perf_counter()
    done = subprocess.run(watched, capture_output=True, text=True, check=True)
    seconds = time.perf_counter() - start
    calls, said = done.stdout.split()
    out.unlink(missing_ok=True)
    return Sample(float(calls), seconds, int(peaks.read_text()) / 1024, said)


# Starts a command and writes the largest resident set of all processes below it, in KiB.
WATCH = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[2:]).returncode
open(sys.argv[1], "w").write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
sys.exit(code)
"""


def measure(case: Case, runs: int) -> dict[str, list[Sample]]:
    """All kinds by turns."""
    samples: dict[str, list[Sample]] = {kind: [] for kind in KINDS}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(runs):
            for kind in KINDS:
                samples[kind].append(run(case, kind, Path(folder)))
    said = {sample.said for kind in KINDS for sample in samples[kind]}
    if len(said) != 1:
        raise SystemExit(f"{case.name}: the recorded program computed something else: {said}")
    return samples


def row(case: Case, samples: dict[str, list[Sample]]) -> str:
    """A line of the table."""

    def median(kind: str, name: str) -> float:
        return statistics.median(getattr(sample, name) for sample in samples[kind])

    plain = median("plain", "calls")
    cells = [case.name, f"{1e3 * plain:.0f}"]
    for kind in KINDS[1:]:
        cells.append(f"{median(kind, 'calls') / plain:.2f}")
        cells.append(f"{median(kind, 'process') - median('plain', 'process'):+.2f}")
        cells.append(f"{median(kind, 'peak') - median('plain', 'peak'):+.0f}")
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    kinds = [f"{kind}: {what}" for kind in KINDS[1:] for what in ("× the calls' time", "s a process", "MiB")]
    header = ["length × calls", "plain calls, ms", *kinds]
    print("| " + " | ".join(header) + " |\n" + "|---" * len(header) + "|")
    found = {}
    for case in CASES:
        samples = measure(case, options.runs)
        print(row(case, samples), flush=True)
        found[case.name] = {kind: [asdict(sample) for sample in samples[kind]] for kind in KINDS}
    if options.json:
        environment = {"torch": torch.__version__, "threads": torch.get_num_threads(), "cores": os.cpu_count(),
                       "machine": platform.platform()}  # fmt: skip
        options.json.write_text(json.dumps({"environment": environment, "cases": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
