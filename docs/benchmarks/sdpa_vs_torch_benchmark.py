"""Whether attn bench's time of SDPA is that of torch.utils.benchmark, on the same tensors in one process.

    python docs/benchmarks/sdpa_vs_torch_benchmark.py [--device DEVICE] [--threads N] [--rounds N] [--seconds S]
        [--json FILE] [CASE ...]

In each round both time the very same call, the one that goes first changing from round to round: attn bench's own clock
and sampling, then torch.utils.benchmark.Timer.blocked_autorange, or the other way round. The ratio is that of the
medians of each round, and of it the median over the rounds.

On CUDA attn bench empties the L2 cache before each run and measures between events, so that the device's work alone is
in the time; torch.utils.benchmark does neither. A case there has to be long enough for both to be about the device's
work, and larger than the cache.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch.utils.benchmark import Timer

from attn_cli.benchmark.allocator import keeping_freed_memory
from attn_cli.benchmark.clock import Clock, clock_for
from attn_cli.benchmark.contenders import CONTENDERS
from attn_cli.benchmark.environment import describe
from attn_cli.benchmark.inputs import draw
from attn_cli.benchmark.sampling import Bounds, interleave, warm_up
from attn_cli.benchmark.types import BenchCase

CASES = {
    "512": BenchCase(1, 8, 8, 512, 512, 64, "float32", False, "forward"),
    "1024": BenchCase(1, 8, 8, 1024, 1024, 64, "float32", False, "forward"),
    "2048": BenchCase(1, 8, 8, 2048, 2048, 64, "float32", False, "forward"),
    "2048-causal": BenchCase(1, 8, 8, 2048, 2048, 64, "float32", True, "forward"),
    "1024-backward": BenchCase(1, 8, 8, 1024, 1024, 64, "float32", False, "backward"),
}
GPU_CASES = {
    "4096-causal-bfloat16": BenchCase(4, 16, 16, 4096, 4096, 128, "bfloat16", True, "forward"),
    "8192-causal-bfloat16": BenchCase(4, 16, 16, 8192, 8192, 128, "bfloat16", True, "forward"),
    "4096-causal-bfloat16-backward": BenchCase(4, 16, 16, 4096, 4096, 128, "bfloat16", True, "backward"),
}


@dataclass(frozen=True)
class Row:
    """Median milliseconds of each round by both, and the median of their ratios."""

    case: str
    attn_ms: tuple[float, ...]
    torch_ms: tuple[float, ...]
    ratio: float

    def cells(self) -> list[str]:
        """The table's row."""
        attn, other = statistics.median(self.attn_ms), statistics.median(self.torch_ms)
        return [self.case, f"{attn:.3f}", f"{other:.3f}", f"{self.ratio:.3f}"]


def by_attn(run: Callable[[], object], clock: Clock, seconds: float) -> float:
    """The median of attn bench's samples, milliseconds."""
    bounds = Bounds(min_seconds=seconds, max_seconds=4 * seconds, min_samples=20, max_samples=2000, fewest=5)
    return statistics.median(interleave({"sdpa": run}, clock, bounds).milliseconds["sdpa"])


def by_torch(run: Callable[[], object], seconds: float) -> float:
    """The median of torch.utils.benchmark, milliseconds."""
    timer = Timer("run()", globals={"run": run}, num_threads=torch.get_num_threads())
    return float(timer.blocked_autorange(min_run_time=seconds).median) * 1e3


def measure(name: str, case: BenchCase, device: torch.device, rounds: int, seconds: float) -> Row:
    """Time one case by both, by turns."""
    clock = clock_for(device)
    run = CONTENDERS["sdpa"].prepare(draw(case, device))
    warm_up(run, clock)
    pairs = []
    for number in range(rounds):
        if number % 2:
            other = by_torch(run, seconds)
            pairs.append((by_attn(run, clock, seconds), other))
        else:
            ours = by_attn(run, clock, seconds)
            pairs.append((ours, by_torch(run, seconds)))
    ratio = statistics.median(ours / other for ours, other in pairs)
    return Row(name, tuple(ours for ours, _ in pairs), tuple(other for _, other in pairs), ratio)


def parsed() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = ", ".join({**CASES, **GPU_CASES})
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {known}; those of the device if none")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=0.5, help="of each in a round")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep every round's times here")
    return parser.parse_args()


def main() -> None:
    """Print the table."""
    asked, known = parsed(), {**CASES, **GPU_CASES}
    device = torch.device(asked.device)
    torch.set_num_threads(asked.threads)
    gc.freeze()  # as attn's commands do once torch is imported
    where = describe(device, clock_for(device).flushed_bytes) | {"cores": os.cpu_count()}
    print(f"{where['device_name']}, {asked.threads} threads, torch {where['torch']}, {asked.rounds} rounds by turns\n")
    print("| case | attn bench, ms | torch.utils.benchmark, ms | ratio |\n|---|---|---|---|")
    rows = []
    with keeping_freed_memory(device):
        for name in asked.cases or (GPU_CASES if device.type == "cuda" else CASES):
            rows.append(measure(name, known[name], device, asked.rounds, asked.seconds))
            print(f"| {' | '.join(rows[-1].cells())} |", flush=True)
    if asked.json:
        document = {"machine": where, "rounds": asked.rounds, "rows": [asdict(row) for row in rows]}
        asked.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
