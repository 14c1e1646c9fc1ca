"""Memory that is free, that a pass takes, and that it takes at least."""

import sys

import pytest
import torch

from attn_cli.benchmark import memory
from attn_cli.benchmark.contenders import CONTENDERS
from attn_cli.benchmark.memory import available_bytes, inputs_bytes, least_bytes, peak_bytes
from tests.benchmark.cases import CPU, make_case
from tests.cli.process import python

MIB = 2**20
CUDA = torch.device("cuda")
tells_its_peak = pytest.mark.skipif(sys.platform != "linux" or not memory._reset_peak(), reason="Linux tells it")


@tells_its_peak
def test_the_peak_of_a_run_is_what_it_held_at_once():
    def run():
        for _ in range(3):  # one after the other: never two at once
            torch.ones(64 * MIB, dtype=torch.uint8)

    assert peak_bytes(run, CPU) == pytest.approx(64 * MIB, rel=0.1)


@tells_its_peak
def test_what_is_held_before_is_not_counted():
    held = torch.ones(64 * MIB, dtype=torch.uint8)
    assert peak_bytes(lambda: held[:MIB].clone(), CPU) < 16 * MIB
    torch.ones(200 * MIB, dtype=torch.uint8)  # a peak that is over
    assert peak_bytes(lambda: torch.ones(32 * MIB, dtype=torch.uint8), CPU) == pytest.approx(32 * MIB, rel=0.2)


def test_a_peak_that_nobody_tells_is_unknown(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "PROC", tmp_path)
    assert peak_bytes(lambda: None, CPU) is None
    assert peak_bytes(lambda: None, torch.device("meta")) is None


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A machine with 8 GiB free, and a control group without a limit."""
    (tmp_path / "meminfo").write_text(f"MemTotal: 1 kB\nMemAvailable:   {8 * 2**20} kB\n")
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("1000\n")
    monkeypatch.setattr(memory, "PROC", tmp_path)
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    return tmp_path


@pytest.mark.usefixtures("machine")
def test_free_memory_is_the_machines():
    assert available_bytes(CPU) == 8 * 2**30


def test_a_containers_limit_counts(machine):
    (machine / "memory.max").write_text(str(2**30))
    assert available_bytes(CPU) == 2**30 - 1000
    (machine / "memory.stat").write_text("anon 5\ninactive_file 400\nactive_file 7\n")
    assert available_bytes(CPU) == 2**30 - 600  # files that can be given up
    (machine / "memory.max").unlink()
    (machine / "memory").mkdir()
    (machine / "memory" / "memory.limit_in_bytes").write_text("5000")
    (machine / "memory" / "memory.usage_in_bytes").write_text("6000")
    assert available_bytes(CPU) == 0
    (machine / "memory" / "memory.stat").write_text("inactive_file 9\ntotal_inactive_file 4000\n")
    assert available_bytes(CPU) == 3000


def test_where_nothing_is_told_it_is_all_the_machine_has(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "PROC", tmp_path)
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    monkeypatch.setattr(memory, "memory_bytes", lambda: 77)
    assert available_bytes(CPU) == 77


def test_what_holds_all_scores_needs_them_and_what_streams_does_not():
    case = make_case(heads=4, queries=4096, dtype="bfloat16")
    scores = 4 * 4096 * 4096 * 2
    for name, device in (("math", CPU), ("math", CUDA), ("flex", CPU)):
        assert least_bytes(CONTENDERS[name], case, device) > 2 * scores
    for name, device in (("sdpa", CPU), ("flash", CUDA), ("flex", CUDA), ("inspect", CPU), ("textbook", CPU)):
        assert least_bytes(CONTENDERS[name], case, device) < scores, name
    backward = make_case(heads=4, queries=4096, dtype="bfloat16", mode="backward")
    assert least_bytes(CONTENDERS["textbook"], backward, CPU) > 2 * scores


# In a process of its own, in whose heap other tests have left no holes.
HOLDS = """
import sys
from attn_cli.benchmark.allocator import keeping_freed_memory
from attn_cli.benchmark.contenders import CONTENDERS
from attn_cli.benchmark.inputs import draw
from attn_cli.benchmark.memory import least_bytes, peak_bytes
from tests.benchmark.cases import CPU, make_case

name, mode = sys.argv[1:]
for dtype in ("float32", "bfloat16"):
    for causal in (False, True):
        case = make_case(heads=4, queries=1024, head_dim=16, causal=causal, mode=mode, dtype=dtype)
        drawn = draw(case, CPU)
        with keeping_freed_memory(CPU):
            CONTENDERS[name].prepare(drawn)()  # what is made once is made
            measured = [peak_bytes(lambda: CONTENDERS[name].prepare(drawn)(), CPU) for _ in range(3)]
        print(dtype, causal, least_bytes(CONTENDERS[name], case, CPU), *measured)
"""


@tells_its_peak
@pytest.mark.parametrize(
    ("name", "mode"),
    [("math", "forward"), ("math", "backward"), ("flex", "forward"), ("textbook", "forward"), ("textbook", "backward")],
)
def test_what_a_contender_is_known_to_hold_is_about_what_it_holds(name, mode):
    """More would skip what fits, less would let in what does not; where a heap puts things makes some difference."""
    done = python(HOLDS, name, mode)
    assert done.returncode == 0, done.err
    lines = done.stdout.decode().splitlines()
    assert len(lines) == 4
    for line in lines:
        least, *measured = map(int, line.split()[2:])
        assert 0.5 * least < min(measured), line
        assert max(measured) < 1.5 * least, line


def test_inputs_count_twice_while_they_are_drawn_where_they_stay():
    case = make_case(queries=100, dtype="float32")
    assert inputs_bytes(case, CPU) == 2 * inputs_bytes(case, CUDA)


@pytest.fixture
def cuda(monkeypatch):
    """PyTorch's bookkeeping of a CUDA device: 100 bytes free, 50 of 70 reserved ones in use."""
    held = {"now": 50, "most": 900}
    told = {
        "mem_get_info": (100, 1000),
        "memory_reserved": 70,
    }
    for name, value in told.items():
        monkeypatch.setattr(torch.cuda, name, lambda _device, value=value: value)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _device: held["now"])
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda _device: held["most"])
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda _device: held.update(most=held["now"]))
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(memory, "synchronize", lambda _device: None)
    return held


@pytest.mark.usefixtures("cuda")
def test_what_the_allocator_has_in_reserve_is_free_too():
    assert available_bytes(CUDA) == 120


def test_on_cuda_the_peak_is_the_allocators_beyond_what_was_held(cuda):
    assert peak_bytes(lambda: cuda.update(most=80), CUDA) == 30
    assert peak_bytes(lambda: None, CUDA) == 0


def test_a_broken_device_can_still_be_released(monkeypatch):
    def fail():
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(torch.cuda, "empty_cache", fail)
    memory.release(CUDA)
