"""Small cases, and contenders that do as they are told."""

import torch

from attn_cli.benchmark.contenders.sdpa import SDPAContender
from attn_cli.benchmark.types import BenchCase

CPU = torch.device("cpu")


def make_case(batch=1, heads=2, kv_heads=None, queries=8, keys=None, head_dim=8, dtype="float32", causal=False,
              mode="forward"):  # fmt: skip
    return BenchCase(batch, heads, kv_heads or heads, queries, keys or queries, head_dim, dtype, causal, mode)


class FakeClock:
    """Shows what a run adds to it, and one millisecond besides; it never waits."""

    flushed_bytes = 0

    def __init__(self):
        self.now = 0.0

    def measure(self, run):
        start = self.now
        run()
        self.now += 1.0
        return self.now - start


class Told:
    """SDPA under another name; ``then`` is called at the start of every run, ``change`` on its output."""

    def __init__(self, name, then=lambda: None, change=lambda output: output, refuses=None, working=0):
        self.name, self.then, self.change, self.refuses, self.working = name, then, change, refuses, working

    def refusal(self, _case, _device):
        return self.refuses

    def working_bytes(self, _case, _device):
        return self.working

    def laid_out(self, drawn):
        return drawn

    def prepare(self, drawn):
        run = SDPAContender("sdpa").prepare(drawn)

        def told():
            self.then()
            return tuple(self.change(x) for x in run())

        return told

    def kernel(self, _drawn, _run):
        return "told"
