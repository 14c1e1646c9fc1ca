"""Threads: they change no bit, and they end with whatever ends the work."""

import itertools
import threading

import pytest
import torch

from attn_cli.inspection import inspector
from attn_cli.inspection.inspector import inspect
from attn_cli.inspection.options import InspectOptions
from attn_cli.inspection.stream.functions import Functions, compiled
from attn_cli.inspection.stream.loop import add_tiles
from attn_cli.inspection.stream.threads import Crew
from tests.attention.calls import make_call
from tests.inspection.cases import coin, with_everything
from tests.inspection.test_stream_functions import assert_same

OPTIONS = InspectOptions(top=9, block_rows=16, block_keys=64, similarity=True)
CALLS = {
    "causal": {"causal": True},
    "keep and sinks": {"keep": coin(1, 2, 4, 200, 300), "sinks": torch.arange(4.0)},
    "large norms and a window": {"window": (40, 3), "scale": 20.0},
}


@pytest.fixture
def threads(monkeypatch):
    """Sets PyTorch's threads for one test, in which a call as small as these is shared out among them."""
    monkeypatch.setattr(inspector, "is_small", lambda _: False)
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def a_call(**options):
    return with_everything(
        make_call(2, 4, 2, queries=200, keys=300, features=8, dtype=torch.float32, **options).to(
            torch.device("cpu"), torch.float32
        )
    ).to(torch.device("cpu"), torch.float32)


@pytest.mark.parametrize("functions", [Functions, compiled])
@pytest.mark.parametrize("name", CALLS)
def test_one_two_or_three_threads_give_the_same_bits(name, functions, threads, monkeypatch):
    monkeypatch.setattr(inspector, "choose_functions", lambda *_: functions())
    call, found = a_call(**CALLS[name]), []
    for number in (1, 2, 3):
        threads(number)
        found.append(inspect(call, OPTIONS))
        assert torch.get_num_threads() == number
    for other in found[1:]:
        assert_same(other, found[0])
        assert torch.equal(other.top.query, found[0].top.query)
        assert torch.equal(other.top.key, found[0].top.key)
        assert torch.equal(other.similarity, found[0].similarity)


def test_a_thread_that_begins_later_has_the_number_from_before(threads):
    threads(3)
    inspect(a_call(), OPTIONS)
    seen = []
    later = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    later.start()
    later.join()
    assert seen == [3]


BREAKS = 5  # the call in which something goes wrong; those behind it wait until that is known


class BreakError(Exception):
    """What goes wrong in the middle."""


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("kind", [BreakError, KeyboardInterrupt])
@pytest.mark.parametrize("place", ["progress", "worker"])
def test_what_ends_the_work_ends_the_threads(place, kind, number, threads, monkeypatch):
    """Nothing goes on behind the error: the calls that were not begun never are."""
    begun, ended, close = itertools.count(1), threading.Event(), Crew.close
    workers = set()

    def breaks(*arguments):
        call = next(begun)
        workers.add(threading.current_thread())
        if place == "worker" and call == BREAKS:
            raise kind
        if call > BREAKS and number > 1:
            assert ended.wait(60)  # the others go on when the error has arrived, however late that is
        return add_tiles(*arguments)

    def progress(*_):
        if place == "progress":
            raise kind

    def then_close(crew):
        ended.set()
        close(crew)

    monkeypatch.setattr(Crew, "close", then_close)
    monkeypatch.setattr(inspector, "choose_functions", lambda *_: Functions(add_tiles=breaks))
    threads(number)
    alive = set(threading.enumerate())
    with pytest.raises(kind):
        inspect(a_call(), OPTIONS, progress)
    done = next(begun) - 1
    assert (threading.current_thread() in workers) == (number == 1)
    assert set(threading.enumerate()) <= alive
    assert torch.get_num_threads() == number
    calls = []
    monkeypatch.setattr(
        inspector, "choose_functions", lambda *_: Functions(add_tiles=lambda *x: calls.append(0) or add_tiles(*x))
    )
    inspect(a_call(), OPTIONS)
    assert done < len(calls)


def test_two_inspections_at_a_time_do_not_mix(threads):
    threads(2)
    calls = [a_call(seed=seed) for seed in (1, 2)]
    expected = [inspect(call, OPTIONS) for call in calls]
    found = [None, None]

    def work(number):
        found[number] = inspect(calls[number], OPTIONS)

    running = [threading.Thread(target=work, args=(number,)) for number in (0, 1)]
    for one in running:
        one.start()
    for one in running:
        one.join()
    for one, other in zip(found, expected, strict=True):
        assert_same(one, other)
