"""Time and memory of an inspection beside scaled_dot_product_attention, which shows nothing.

    python docs/benchmarks/inspect_vs_sdpa.py [--threads N] [--runs N] [CASE ...]

Every case is timed in one process, the contenders by turns, and the median is taken of each. Memory is the peak of the
resident set of a process of its own that only inspects, less what it held before together with output and lse.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.nn.functional import scaled_dot_product_attention

from attn_cli.attention.masks import MaskRule, aligned_places
from attn_cli.attention.types import AttentionInputs, CallIndex, Rules
from attn_cli.inspection.inspector import inspect

MIB = 2**20


@dataclass(frozen=True)
class Case:
    """One shape: batch × heads × length × features, float32, normal, q × 2."""

    heads: int
    length: int
    features: int
    kv_heads: int
    causal: bool = False
    window: int | None = None
    with_sdpa: bool = True

    def inputs(self) -> AttentionInputs:
        """The call, the same at each time."""
        torch.manual_seed(0)
        q = torch.randn(1, self.heads, self.length, self.features).mul_(2)
        k = torch.randn(1, self.kv_heads, self.length, self.features)
        v = torch.randn(1, self.kv_heads, self.length, self.features)
        window = None if self.window is None else (self.window, 0)
        mask = MaskRule(self.length, aligned_places(self.length, self.length), causal=self.causal, window=window)
        return AttentionInputs(q, k, v, Rules(mask), CallIndex.whole(1, self.heads, self.length))


CASES = {
    "12x4096x64": Case(12, 4096, 64, 12),
    "12x4096x64-causal": Case(12, 4096, 64, 12, causal=True),
    "12x8192x64": Case(12, 8192, 64, 12),
    "12x8192x64-causal": Case(12, 8192, 64, 12, causal=True),
    "32/8x4096x128-causal": Case(32, 4096, 128, 8, causal=True),
    "1x32768x64-causal": Case(1, 32768, 64, 1, causal=True),
    "1x32768x64-window": Case(1, 32768, 64, 1, causal=True, window=1024, with_sdpa=False),
    "1x65536x64-causal": Case(1, 65536, 64, 1, causal=True),
    "1x131072x64-causal": Case(1, 131072, 64, 1, causal=True),
}


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


def medians(contenders: list[Callable[[], object]], runs: int) -> list[float]:
    """Seconds of each contender, by turns, after one run of each that is not counted."""
    for run in contenders:
        run()
    times: list[list[float]] = [[] for _ in contenders]
    for _ in range(runs):
        for mine, run in zip(times, contenders, strict=True):
            start = time.perf_counter()
            run()
            mine.append(time.perf_counter() - start)
    return [statistics.median(mine) for mine in times]


def peak_kib() -> int:
    """The largest resident set so far; Linux's getrusage begins with that of the parent, macOS counts bytes."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().split("VmHWM:")[1].split()[0])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // 1024 if sys.platform == "darwin" else peak


def print_memory(case: Case) -> None:
    """MiB above inputs and outputs, for a process that does nothing else."""
    inspect(Case(2, 300, 64, 2, causal=True).inputs())  # what libraries load once
    inputs = case.inputs()
    before = resident_kib()
    found = inspect(inputs)
    outputs = sum(x.numel() * x.element_size() for x in (found.output, found.lse))
    print((peak_kib() - before) / 1024 - outputs / MIB)


def resident_kib() -> int:
    """The resident set now; where the system does not tell, the largest so far."""
    statm = Path("/proc/self/statm")
    if not statm.exists():
        return peak_kib()
    return int(statm.read_text().split()[1]) * resource.getpagesize() // 1024


def memory(name: str, threads: int) -> float:
    """:func:`print_memory` in a process of its own."""
    command = [sys.executable, __file__, "--threads", str(threads), "--memory", name]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(CASES)}; all where none is named")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--memory", metavar="CASE", help="print the memory of one case alone")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    if asked.memory:
        print_memory(CASES[asked.memory])
        return
    print(f"torch {torch.__version__}, {asked.threads} threads, medians of {asked.runs} runs by turns\n")
    print(
        "| case | inspect, ms | SDPA, ms | inspect / SDPA | eager softmax(QKᵀ)V, ms | inspect / eager | memory, MiB |"
    )
    print("|---|---|---|---|---|---|---|")
    for name in asked.cases or CASES:
        case = CASES[name]
        inputs = case.inputs()
        contenders: list[Callable[[], object]] = [lambda call=inputs: inspect(call)]
        if case.with_sdpa:
            contenders.append(lambda call=inputs: sdpa(call))
        if case.length == 4096 and case.heads == 12:
            contenders.append(lambda call=inputs: eager(call))
        found = [*medians(contenders, asked.runs), *[float("nan")] * 2][:3]
        ours, fused, plain = found if case.with_sdpa else (found[0], float("nan"), float("nan"))
        cells = (f"{ours * 1e3:.0f}", f"{fused * 1e3:.0f}", f"{ours / fused:.2f}")
        cells = (*cells, f"{plain * 1e3:.0f}", f"{ours / plain:.2f}", f"{memory(name, asked.threads):.0f}")
        print(f"| {name} | {' | '.join(cells)} |".replace("nan", "–"), flush=True)


if __name__ == "__main__":
    main()
