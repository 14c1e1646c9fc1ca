"""How often two runs of the same benchmark compare as the SAME.

    python docs/benchmarks/same_twice.py [FILE ...] [--runs N] [--folder FOLDER] [-- OPTIONS OF ATTN BENCH]

Runs ``attn bench`` N times, one after the other, each into a file of FOLDER, and compares every two of them; with FILEs
those are compared and nothing is run. Leave the machine alone meanwhile.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

from attn_cli.benchmark.baseline import compare_measured, load


def run(folder: Path, runs: int, options: Sequence[str]) -> list[Path]:
    """The files of ``runs`` benchmarks, in the order they ran."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{number}.json" for number in range(1, runs + 1)]
    for file in files:
        command = [sys.executable, "-m", "attn_cli", "bench", *options, "--save", str(file)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return files


def main() -> None:
    """Print every verdict that is not SAME, then how often each was given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--folder", type=Path, help="keep the runs here")
    arguments = sys.argv[1:]
    split = arguments.index("--") if "--" in arguments else len(arguments)
    asked = parser.parse_args(arguments[:split])
    with tempfile.TemporaryDirectory() as folder:
        files = asked.files or run(asked.folder or Path(folder), asked.runs, arguments[split + 1 :])
        measured = [load(file) for file in files]
    verdicts: Counter[str] = Counter()
    for old, new in combinations(measured, 2):
        for entry in compare_measured(new, old):
            verdicts[entry.verdict] += 1
            if entry.verdict != "SAME":
                where = f"{entry.case.queries} x {entry.case.keys}, {entry.case.dtype}"
                print(f"{old.file} {new.file}  {entry.backend}, {where}: {entry.verdict} {entry.ratio:.3f}")
    total = sum(verdicts.values())
    print(
        f"{len(measured)} runs, {total} verdicts: "
        + ", ".join(f"{n} {verdict}" for verdict, n in verdicts.most_common())
    )


if __name__ == "__main__":
    main()
