"""Peaks on a clock that works by the numbers that are to come out."""

import pytest
import torch

from attn_cli.benchmark import peaks
from attn_cli.benchmark.peaks import measure

CPU = torch.device("cpu")


class Meter:
    """Takes so long for a product, or a copy, as a device of these rates does, and does nothing."""

    flushed_bytes = 0

    def __init__(self, monkeypatch, flops=1e12, bandwidth=1e10, lost=()):
        self.flops, self.bandwidth, self.lost, self.runs = flops, bandwidth, list(lost), 0
        self.seconds = 0.0
        self.sides = []
        monkeypatch.setattr(torch, "mm", self._mm)
        monkeypatch.setattr(torch.Tensor, "copy_", lambda _target, source: self._copy(source))

    def _mm(self, a, _b, out):
        self.sides.append(len(a))
        self.seconds = 2 * len(a) ** 3 / self.flops

    def _copy(self, source):
        self.seconds = 2 * source.nbytes / self.bandwidth

    def measure(self, run):
        run()
        self.runs += 1
        return self.seconds * 1e3 + (self.lost.pop() if self.lost else 0.0)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setitem(peaks.LARGEST_SIDE, "cpu", 1024)
    monkeypatch.setitem(peaks.COPY_BYTES, "cpu", 2**20)


def test_the_rates_come_out(monkeypatch):
    found = measure(CPU, ["float32", "float32", "bfloat16"], Meter(monkeypatch))
    assert found.flops_per_s == pytest.approx({"float32": 1e12, "bfloat16": 1e12})
    assert found.bytes_per_s == pytest.approx(1e10)


def test_disturbed_runs_do_not_count(monkeypatch):
    found = measure(CPU, ["float32"], Meter(monkeypatch, lost=[5.0, 1.0, 9.0]))
    assert found.flops_per_s["float32"] == pytest.approx(1e12)


def test_products_grow_until_one_takes_long(monkeypatch):
    slow = Meter(monkeypatch, flops=1e9)
    measure(CPU, ["float32"], slow)
    assert max(slow.sides) == 512  # 268 ms
    assert len(slow.sides) < 15


def test_a_dtype_that_cannot_be_multiplied_is_left_out(monkeypatch):
    def refuse(*_, **_kind):
        raise RuntimeError("not implemented for 'Half'")

    meter = Meter(monkeypatch)
    monkeypatch.setattr(torch, "mm", refuse)
    found = measure(CPU, ["float16"], meter)
    assert found.flops_per_s == {}
    assert found.roofline("float16", 10) is None
    assert found.bytes_per_s == pytest.approx(1e10)


def test_a_copy_takes_no_more_memory_than_there_is(monkeypatch):
    monkeypatch.setitem(peaks.COPY_BYTES, "cpu", 2**28)
    monkeypatch.setattr(peaks, "available_bytes", lambda _device: 2**23)
    sizes = []
    ones = torch.ones
    monkeypatch.setattr(torch, "ones", lambda size, **kind: (sizes.append(size), ones(size, **kind))[1])
    measure(CPU, [], Meter(monkeypatch))
    assert sizes == [2**21]
