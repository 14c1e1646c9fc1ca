"""What the most heads take that are inspected at once: whole processes of attn on files of 16,384 small heads.

    python docs/benchmarks/many_heads.py [--runs N] [--json FILE]

The same number of heads comes as batch items of one head each and as few items of many, beside a file of one head,
which shows what starting costs. Every run is a process of its own, the files by turns; the median is taken of its
seconds and of the peak of its resident set.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file

TOKENS, HEAD_DIM = 4, 8
# Batch items × heads.
FILES = {"1 × 1": (1, 1), "16 × 1,024": (16, 1024), "16,384 × 1": (16384, 1)}
COMMANDS = (
    "run A", "run A --json", "check A", "diff A B",
    "run A --json --similarity", "run A --html PAGE", "diff A B --html PAGE",
)  # fmt: skip


@dataclass(frozen=True)
class Sample:
    """One run: its seconds, and the peak of its resident set in MiB."""

    seconds: float
    peak: float


def write_files(folder: Path, items: int, heads: int) -> dict[str, str]:
    """Two calls of standard normal draws that differ in the queries alone, and where a page may go."""
    generator = torch.Generator().manual_seed(0)
    shape = (items, heads, TOKENS, HEAD_DIM)
    q, k, v, other_q = (torch.randn(shape, generator=generator) for _ in range(4))
    places = {name: str(folder / f"{name}.safetensors") for name in "AB"}
    save_file({"q": q, "k": k, "v": v}, places["A"])
    save_file({"q": other_q, "k": k, "v": v}, places["B"])
    return {**places, "PAGE": str(folder / "page.html")}


def run(command: str, places: dict[str, str]) -> Sample:
    """Run attn once. That it found something (exit code 1) is what it is asked for."""
    arguments = [places.get(word, word) for word in command.split()]
    with tempfile.TemporaryFile() as out:
        start = time.perf_counter()
        process = subprocess.Popen([sys.executable, "-m", "attn_cli", *arguments], stdout=out, stderr=out)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode not in (0, 1):
            out.seek(0)
            raise SystemExit(f"attn {command}: exit code {process.returncode}\n{out.read().decode()[-1000:]}")
    return Sample(seconds, _mebibytes(usage))


def _mebibytes(usage: resource.struct_rusage) -> float:
    return usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def row(command: str, samples: dict[str, list[Sample]]) -> str:
    """A line of the table."""
    cells = [f"`attn {command}`"]
    cells += [f"{statistics.median(one.seconds for one in samples[name]):.1f}" for name in FILES]
    cells += [f"{statistics.median(one.peak for one in samples[name]):.0f}" for name in FILES]
    return "| " + " | ".join(cells) + " |"


def measure(command: str, places: dict[str, dict[str, str]], runs: int) -> dict[str, list[Sample]]:
    """A command on all files by turns."""
    samples: dict[str, list[Sample]] = {name: [] for name in places}
    for _ in range(runs):
        for name, of_file in places.items():
            samples[name].append(run(command, of_file))
    return samples


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    header = ["command", *(f"{name}: s" for name in FILES), *(f"{name}: MiB" for name in FILES)]
    print("| " + " | ".join(header) + " |\n" + "|---" * len(header) + "|")
    found = {}
    with tempfile.TemporaryDirectory() as top:
        places = {}
        for number, (name, (items, heads)) in enumerate(FILES.items()):
            folder = Path(top) / str(number)
            folder.mkdir()
            places[name] = write_files(folder, items, heads)
        for command in COMMANDS:
            samples = measure(command, places, options.runs)
            print(row(command, samples), flush=True)
            found[command] = {name: [asdict(sample) for sample in of_file] for name, of_file in samples.items()}
    if options.json:
        environment = {"torch": torch.__version__, "threads": torch.get_num_threads(), "cores": os.cpu_count(),
                       "machine": platform.platform()}  # fmt: skip
        options.json.write_text(json.dumps({"environment": environment, "commands": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
