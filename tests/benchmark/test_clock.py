"""Clocks whose time and device are made up."""

import pytest
import torch

from attn_cli.benchmark import clock as clocks
from attn_cli.benchmark import timing
from attn_cli.benchmark.clock import CudaClock, WallClock, clock_for


@pytest.fixture
def log(monkeypatch):
    """What is done to a CUDA device that is not there, in order; the log is its clock too."""
    log = []

    class Event:
        def __init__(self, enable_timing):
            assert enable_timing
            self.at = None

        def record(self):
            self.at = len(log)
            log.append("event")

        def synchronize(self):
            log.append("wait")

        def elapsed_time(self, end):
            return float(end.at - self.at)

    class Buffer:
        def zero_(self):
            log.append("flush")

    class Guard:
        def __init__(self, device):
            assert device == torch.device("cuda:1")

        def __enter__(self):
            log.append("device")

        def __exit__(self, *_):
            log.append("back")

    def empty(size, dtype, device):
        log.append((size * dtype.itemsize, str(device)))
        return Buffer()

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "device", Guard)
    properties = type("Properties", (), {"L2_cache_size": 1000})
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: properties)
    monkeypatch.setattr(clocks.torch, "empty", empty)
    return log


def test_cuda_run_stands_between_events_after_the_flush(log):
    clock = CudaClock(torch.device("cuda:1"))
    assert clock.flushed_bytes == 2000
    assert log == [(2000, "cuda:1")]
    log.clear()
    assert clock.measure(lambda: log.extend(["run", "run"])) == 3
    assert log == ["device", "flush", "event", "run", "run", "event", "wait", "back"]


def test_the_device_is_given_back_when_the_run_raises(log):
    clock = CudaClock(torch.device("cuda:1"))
    with pytest.raises(ZeroDivisionError):
        clock.measure(lambda: 1 / 0)
    assert log[-1] == "back"


def test_wall_clock_waits_for_the_device_around_the_run(monkeypatch):
    log, now = [], iter((5.0, 5.25))
    monkeypatch.setattr(timing, "synchronize", lambda device: log.append(device.type))
    monkeypatch.setattr(timing.time, "perf_counter", lambda: next(now))
    clock = WallClock(torch.device("mps"))
    assert clock.measure(lambda: log.append("run")) == pytest.approx(250)
    assert log == ["mps", "run", "mps"]
    assert clock.flushed_bytes == 0


def test_each_device_has_its_clock(log):
    assert isinstance(clock_for(torch.device("cuda:1")), CudaClock)
    assert isinstance(clock_for(torch.device("cpu")), WallClock)
    assert isinstance(clock_for(torch.device("mps")), WallClock)
    assert [entry for entry in log if isinstance(entry, tuple)] == [(2000, "cuda:1")]
