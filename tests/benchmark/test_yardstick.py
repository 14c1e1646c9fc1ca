"""The fixed work beside which a machine's speed is seen."""

import gc
import math

import pytest
import torch

from attn_cli.benchmark.yardstick import Yardstick


class ScriptedClock:
    """Runs the work, and gives these milliseconds for it."""

    flushed_bytes = 0

    def __init__(self, *times):
        self.times, self.runs = list(times), 0

    def measure(self, run):
        run()
        self.runs += 1
        return self.times[(self.runs - 1) % len(self.times)]


def test_it_is_the_geometric_mean_of_three_works():
    clock = ScriptedClock(1.0, 8.0, 27.0)
    assert Yardstick(clock).measure() == pytest.approx(6)
    assert clock.runs == 3
    slower = ScriptedClock(2.0, 16.0, 54.0)
    assert Yardstick(slower).measure() == pytest.approx(12)


def test_a_clock_too_coarse_for_it_gives_zero():
    assert Yardstick(ScriptedClock(0.0)).measure() == 0


def test_warming_up_runs_each_work_until_it_settles():
    clock = ScriptedClock(9.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0)
    Yardstick(clock).warm_up()
    assert clock.runs >= 9


def test_its_works_compute_what_they_say_and_take_no_numbers_from_others():
    torch.manual_seed(3)
    first = torch.rand(4)
    torch.manual_seed(3)
    made = []

    class Kept(ScriptedClock):
        def measure(self, run):
            made.append(inspect_closure(run))
            return super().measure(run)

    yardstick = Yardstick(Kept(1.0))
    assert torch.equal(torch.rand(4), first)
    yardstick.measure()
    product, attention, copy = made
    expected = product["a"].double() @ product["b"].double()
    assert torch.allclose(product["out"].double(), expected, atol=1e-3)
    scores = attention["q"].double() @ attention["k"].double().mT / math.sqrt(64)
    expected = torch.softmax(scores, dim=-1) @ attention["v"].double()
    assert torch.allclose(attention["out"].double(), expected, atol=1e-4)
    assert torch.equal(copy["source"], copy["target"])
    gc.collect()


def inspect_closure(run):
    """What a work holds, by name."""
    return dict(zip(run.__code__.co_freevars, (cell.cell_contents for cell in run.__closure__), strict=True))
