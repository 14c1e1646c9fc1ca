"""Time and memory of an inspection beside scaled_dot_product_attention, which shows nothing.

    python docs/benchmarks/inspect_vs_sdpa.py [--device DEVICE] [--threads N] [--runs N] [--json FILE] [CASE ...]

Every case is timed in one process, the inspection and one other by turns, and the median is taken of each. The other is
first scaled_dot_product_attention, then the plain softmax(QKᵀ)V that keeps all weights, where they fit; a window is
timed beside the same call without it.
Memory on a CPU is the peak of the resident set of a process of its own, on a GPU the peak of what PyTorch allocated;
both less inputs and outputs.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch.nn.functional import scaled_dot_product_attention

from attn_cli.attention.devices import synchronize
from attn_cli.attention.masks import MaskRule, aligned_places
from attn_cli.attention.types import AttentionInputs, CallIndex, Rules
from attn_cli.inspection.inspector import inspect

MIB = 2**20
WEIGHTS_THAT_FIT = 2**30


@dataclass(frozen=True)
class Case:
    """One shape of batch 1: heads × length × features, normal draws, q × 2."""

    heads: int
    length: int
    features: int
    kv_heads: int
    causal: bool = False
    window: int | None = None
    dtype: str = "float32"

    def inputs(self, device: torch.device) -> AttentionInputs:
        """The call, the same at each time."""
        torch.manual_seed(0)
        shapes = [(1, heads, self.length, self.features) for heads in (self.heads, self.kv_heads, self.kv_heads)]
        q, k, v = (torch.randn(shape).to(device, getattr(torch, self.dtype)) for shape in shapes)
        window = None if self.window is None else (self.window, 0)
        places = aligned_places(self.length, self.length).to(device)
        mask = MaskRule(self.length, places, causal=self.causal, window=window)
        return AttentionInputs(q.mul_(2), k, v, Rules(mask), CallIndex.whole(1, self.heads, self.length))


CASES = {
    "12x4096x64": Case(12, 4096, 64, 12),
    "12x4096x64-causal": Case(12, 4096, 64, 12, causal=True),
    "12x8192x64": Case(12, 8192, 64, 12),
    "12x8192x64-causal": Case(12, 8192, 64, 12, causal=True),
    "32/8x4096x128-causal": Case(32, 4096, 128, 8, causal=True),
    "1x32768x64-causal": Case(1, 32768, 64, 1, causal=True),
    "1x32768x64-window": Case(1, 32768, 64, 1, causal=True, window=1024),
    "1x65536x64-causal": Case(1, 65536, 64, 1, causal=True),
    "1x131072x64-causal": Case(1, 131072, 64, 1, causal=True),
}
GPU_CASES = {
    "32x32768x128-causal-bfloat16": Case(32, 32768, 128, 32, causal=True, dtype="bfloat16"),
    "32x131072x128-causal-bfloat16": Case(32, 131072, 128, 32, causal=True, dtype="bfloat16"),
}


@dataclass(frozen=True)
class Row:
    """What was measured: of each contender, the milliseconds of inspection and contender, run by run; and MiB."""

    case: str
    pairs: dict[str, list[tuple[float, float]]]
    memory_mib: float

    def cells(self) -> list[str]:
        """The table's row."""
        times = {name: [statistics.median(x) for x in zip(*pairs, strict=True)] for name, pairs in self.pairs.items()}
        numbers = [f"{next(iter(times.values()))[0]:.0f}"]
        for name in ("sdpa", "eager", "whole"):
            ours, other = times.get(name, (0.0, 0.0))
            numbers += [f"{other:.0f}", f"{ours / other:.2f}"] if other else ["–", "–"]
        return [self.case, *numbers, f"{self.memory_mib:.0f}"]


HEADINGS = [
    "case",
    "inspect, ms",
    "SDPA, ms",
    "inspect / SDPA",
    "softmax(QKᵀ)V, ms",
    "inspect / softmax(QKᵀ)V",
    "without window, ms",
    "window / without",
    "MiB",
]


def sdpa(inputs: AttentionInputs) -> None:
    """The fused kernel."""
    grouped = inputs.q.shape[1] != inputs.k.shape[1]
    causal = inputs.rules.mask.causal
    scaled_dot_product_attention(inputs.q, inputs.k, inputs.v, is_causal=causal, enable_gqa=grouped)


def eager(inputs: AttentionInputs) -> None:
    """softmax(QKᵀ)V that keeps the weights."""
    groups = inputs.q.shape[1] // inputs.k.shape[1]
    k, v = (x.repeat_interleave(groups, dim=1) for x in (inputs.k, inputs.v))
    logits = inputs.q @ k.mT * inputs.scale
    tile = inputs.rules.mask.tile()
    if tile is not None:
        logits = logits.masked_fill(~tile, -torch.inf)
    torch.softmax(logits, dim=-1) @ v


def time_by_turns(
    ours: Callable[[], object], other: Callable[[], object], runs: int, device: torch.device
) -> list[tuple[float, float]]:
    """Milliseconds of both, run by run, after one of each that is not counted."""

    def milliseconds(run: Callable[[], object]) -> float:
        synchronize(device)
        start = time.perf_counter()
        run()
        synchronize(device)
        return (time.perf_counter() - start) * 1e3

    return [(milliseconds(ours), milliseconds(other)) for _ in range(runs + 1)][1:]


def measure(name: str, case: Case, device: torch.device, runs: int, memory: float) -> Row:
    """Time one case."""
    inputs = case.inputs(device)
    others: dict[str, Callable[[], object]] = {}
    if case.window is not None:
        whole = replace(case, window=None).inputs(device)
        others["whole"] = lambda: inspect(whole)
    else:
        others["sdpa"] = lambda: sdpa(inputs)
        if case.heads * case.length**2 <= WEIGHTS_THAT_FIT:
            others["eager"] = lambda: eager(inputs)
    pairs = {key: time_by_turns(lambda: inspect(inputs), other, runs, device) for key, other in others.items()}
    return Row(name, pairs, memory)


def peak_kib() -> int:
    """The largest resident set so far; Linux's getrusage begins with that of the parent, macOS counts bytes."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().split("VmHWM:")[1].split()[0])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // 1024 if sys.platform == "darwin" else peak


def resident_kib() -> int:
    """The resident set now; where the system does not tell, the largest so far."""
    statm = Path("/proc/self/statm")
    if not statm.exists():
        return peak_kib()
    return int(statm.read_text().split()[1]) * resource.getpagesize() // 1024


def memory_here(case: Case, device: torch.device) -> float:
    """MiB above inputs and outputs, for a process that does nothing else."""
    inspect(Case(2, 300, 64, 2, causal=True).inputs(device))  # what libraries load once
    inputs = case.inputs(device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        inspect(inputs)
        return (torch.cuda.max_memory_allocated(device) - before) / MIB
    before = resident_kib()
    found = inspect(inputs)
    outputs = sum(x.numel() * x.element_size() for x in (found.output, found.lse) if x is not None)
    return (peak_kib() - before) / 1024 - outputs / MIB


def memory_apart(name: str, asked: argparse.Namespace) -> float:
    """:func:`memory_here` in a process of its own."""
    options = ["--threads", str(asked.threads), "--device", asked.device, "--memory", name]
    command = [sys.executable, __file__, *options]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def machine(device: torch.device, threads: int) -> dict[str, str | int]:
    """Where the figures come from."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    return {"device": name, "cores": os.cpu_count() or 0, "threads": threads, "torch": str(torch.__version__)}


def parsed() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = {**CASES, **GPU_CASES}
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(known)}; those of the device if none")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep every run's time here")
    parser.add_argument("--memory", metavar="CASE", help="print the memory of one case alone")
    return parser.parse_args()


def main() -> None:
    """Print the table."""
    asked, known = parsed(), {**CASES, **GPU_CASES}
    device = torch.device(asked.device)
    torch.set_num_threads(asked.threads)
    gc.freeze()  # as attn's commands do once torch is imported
    if asked.memory:
        print(memory_here(known[asked.memory], device))
        return
    where = machine(device, asked.threads)
    print(f"{', '.join(f'{name} {value}' for name, value in where.items())}, medians of {asked.runs} runs by turns\n")
    print(f"| {' | '.join(HEADINGS)} |\n|{'---|' * len(HEADINGS)}")
    rows = []
    for name in asked.cases or (GPU_CASES if device.type == "cuda" else CASES):
        rows.append(measure(name, known[name], device, asked.runs, memory_apart(name, asked)))
        print(f"| {' | '.join(rows[-1].cells())} |", flush=True)
    if asked.json:
        document = {"machine": where, "runs": asked.runs, "rows": [asdict(row) for row in rows]}
        asked.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
