"""Inspecting beside the program: as ``attn run`` would, and as if nothing had been there."""

import gc
import threading
import weakref
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from attn_cli.attention.ambient import plainly
from attn_cli.attention.selection import Selection, select
from attn_cli.inspection.inspector import inspect
from attn_cli.recording import watching
from attn_cli.recording.libraries.base import PassedOver
from attn_cli.recording.swapping.real_runs import unseen
from attn_cli.recording.watching import Watcher, watch
from tests.attention.calls import make_call
from tests.inspection.cases import cases, drawn
from tests.inspection.strategies import broken_calls, calls
from tests.recording.left_over import no_tensor_left
from tests.recording.watched import answered, broken, caught

CASES = cases()


def assert_as_inspected(watched, inputs, **tolerance):
    expected = inspect(inputs)
    assert set(watched.inspection.metrics) == set(expected.metrics)
    for name, values in expected.metrics.items():
        torch.testing.assert_close(
            watched.inspection.metrics[name], values, equal_nan=True, msg=lambda text, name=name: f"{name}: {text}",
            **tolerance,
        )  # fmt: skip
    assert watched.inspection.labels == expected.labels
    assert [one.code for one in watched.findings] == [one.code for one in expected.findings]


def assert_same(watched, expected):
    """Bit for bit."""
    found = (
        (dict(x.inspection.metrics), x.inspection.pictures.weights, x.inspection.top.weight)
        for x in (watched, expected)
    )
    torch.testing.assert_close(*found, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("name", CASES)
def test_a_call_of_any_kind_is_measured_as_attn_run_does(name):
    watched = watch(caught(CASES[name]))
    assert_as_inspected(watched, CASES[name], rtol=1e-12, atol=1e-12)
    assert watched.inspection.output is None
    assert watched.milliseconds > 0


@settings(deadline=None, max_examples=40)
@given(calls())
def test_any_call_is_measured_as_attn_run_does(call):
    assert_as_inspected(watch(caught(call)), call, rtol=1e-9, atol=1e-9)


@settings(deadline=None, max_examples=30)
@given(broken_calls())
def test_a_broken_call_is_measured_as_attn_run_does(call):
    assert_as_inspected(watch(caught(call)), call, rtol=1e-9, atol=1e-9)


def test_shapes_and_rules_are_told():
    keep = torch.ones(2, 1, 1, 7, dtype=torch.bool)
    call = make_call(
        kv_heads=2, value_features=3, causal=True, window=(2, 0), softcap=5.0, keep=keep, sinks=drawn(1, 4)
    )
    watched = watch(caught(select(call, Selection(heads=(0, 1))), align="top-left", dropout=0.1))
    shape, rules = watched.shape, watched.rules
    assert (shape.batch, shape.heads, shape.kv_heads, shape.queries, shape.keys) == (2, 2, 1, 5, 7)
    assert (shape.head_dim, shape.value_dim, shape.total_heads) == (8, 3, 4)
    assert (rules.causal, rules.align, rules.window, rules.softcap, rules.dropout) == (
        True,
        "top-left",
        (2, 0),
        5.0,
        0.1,
    )
    assert (rules.mask, rules.sinks, rules.bias, rules.valid_lens) == ((2, 1, 1, 7), (2,), None, None)
    assert rules.scale == 8**-0.5
    assert watched.inspection.index.heads == (0, 1)


def test_pictures_have_sixteen_cells_a_side_and_heads_one_pair():
    watched = watch(caught(make_call(queries=100, keys=100)))
    assert watched.inspection.pictures.weights.shape == (2, 4, 15, 15)
    assert watched.inspection.top.query.shape == (2, 4, 1)


class TestVerification:
    def test_an_output_that_is_right_holds(self):
        watched = watch(answered(make_call(causal=True, kv_heads=2)))
        assert watched.verification.holds
        assert watched.verification.against == "scaled_dot_product_attention"
        assert watched.findings == ()

    def test_a_half_output_of_full_queries_is_judged_as_a_half(self):
        call = answered(make_call(dtype=torch.float32))
        watched = watch(replace(call, output=call.output.to(torch.bfloat16)))
        assert watched.verification.max_abs_error > 1e-4
        assert watched.verification.holds

    @pytest.mark.parametrize(("number", "severity"), [(0.5, "warning"), (torch.nan, "error")])
    def test_one_that_is_not_is_found(self, number, severity):
        call = answered(make_call())
        call.output[1, 2, 3, 4] += number
        found = watch(call).findings
        assert [(one.code, one.severity) for one in found] == [("ATTN005", severity)]
        assert (found[0].place.batch, found[0].place.head, found[0].place.query) == (1, 2, 3)

    def test_none_is_none(self):
        assert watch(caught(make_call())).verification is None


@pytest.mark.parametrize("role", ["q", "k", "v"])
def test_a_nan_is_found_where_it_arose(role):
    watched = watch(broken(torch.nan, role, queries=5, keys=7))
    first = watched.findings[0]
    assert (first.code, first.place.tensor, first.place.head) == ("ATTN001", role, 1)
    assert watched.inspection.labels[0][1] == "broken"


class TestSink:
    def test_a_call_is_inspected_at_once_and_written(self):
        found = []
        sink = Watcher(found.append)
        for number in range(2):
            assert sink.take(answered(make_call(seed=number), number=number)) is True
            assert [one.number for one in found] == list(range(number + 1))
        assert_same(found[1], watch(answered(make_call(seed=1))))

    def test_a_call_that_cannot_be_inspected_is_passed_over_and_the_next_is_written(self, monkeypatch):
        found = []

        def refuse(*_):
            raise torch.OutOfMemoryError("tried to allocate 7 GiB")

        monkeypatch.setattr(watching, "inspect", refuse)
        with pytest.raises(PassedOver, match="OutOfMemoryError in refuse"):
            Watcher(found.append).take(caught(make_call()))
        monkeypatch.undo()
        assert Watcher(found.append).take(caught(make_call(), number=1))
        assert [one.number for one in found] == [1]

    def test_what_cannot_be_written_is_its_users_to_know(self):
        def refuse(_):
            raise OSError("no room")

        with pytest.raises(OSError, match="no room"):
            Watcher(refuse).take(caught(make_call()))


class Counting(TorchDispatchMode):
    """Counts the operations that it sees."""

    seen = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.seen += 1
        return func(*args, **(kwargs or {}))


class CountingFunctions(TorchFunctionMode):
    """Counts the functions that it sees."""

    seen = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.seen += 1
        return func(*args, **(kwargs or {}))


class TestTheProgram:
    """What a program has set up is as it was, and changes nothing of what is measured."""

    @pytest.mark.parametrize("queries", [5, 2100])  # in one thread and in several
    @pytest.mark.parametrize("number", [1, 2, 3])
    def test_has_as_many_threads_as_before(self, number, queries):
        before, alive = torch.get_num_threads(), set(threading.enumerate())
        seen = []
        try:
            torch.set_num_threads(number)
            watch(caught(make_call(1, 1, queries=queries, keys=queries, dtype=torch.float32)))
            assert torch.get_num_threads() == number
            later = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
            later.start()
            later.join()
        finally:
            torch.set_num_threads(before)
        assert seen == [number]
        assert set(threading.enumerate()) <= alive

    def test_draws_the_same_random_numbers(self):
        torch.manual_seed(3)
        before = torch.get_rng_state()
        watch(answered(make_call(queries=30, keys=30)))
        assert torch.equal(torch.get_rng_state(), before)

    @pytest.mark.parametrize("enabled", [True, False])
    def test_keeps_its_gradients(self, enabled):
        inputs = make_call()
        x = inputs.q.clone().requires_grad_()
        with torch.set_grad_enabled(enabled):
            watch(caught(replace(inputs, q=x.detach())))
            assert torch.is_grad_enabled() == enabled
            y = (x * 2).sum()
        assert y.requires_grad == enabled

    @pytest.mark.parametrize("queries", [5, 2100])
    def test_may_be_in_inference_mode(self, queries):
        with torch.inference_mode():
            inputs = make_call(1, 1, queries=queries, keys=queries, dtype=torch.float32)
            watched = watch(answered(inputs))
            assert torch.is_inference_mode_enabled()
        assert_as_inspected(
            watched, make_call(1, 1, queries=queries, keys=queries, dtype=torch.float32), rtol=1e-6, atol=1e-6
        )

    def test_may_be_in_autocast(self):
        call = answered(make_call(dtype=torch.float32))
        expected = watch(call)
        with torch.autocast("cpu", torch.bfloat16):
            watched = watch(call)
            assert torch.is_autocast_enabled("cpu")
            assert (call.inputs.q @ call.inputs.k.mT).dtype == torch.bfloat16
        assert_same(watched, expected)

    @pytest.mark.parametrize("mode", [Counting, CountingFunctions])
    def test_sees_nothing_with_its_modes(self, mode):
        call = answered(make_call())
        with mode() as active:
            watch(call)
            before = active.seen
            torch.ones(2) + 1
        assert active.seen > before
        assert before == 0

    def test_may_have_a_default_device(self):
        call = answered(make_call())
        expected = watch(call)
        with torch.device("meta"):
            watched = watch(call)
            assert torch.empty(1).is_meta
        assert torch.equal(watched.inspection.top.key, expected.inspection.top.key)

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
    def test_may_have_any_default_dtype(self, dtype):
        made = {name: call.to(torch.device("cpu"), torch.float32) for name, call in CASES.items()}
        made["long"] = make_call(1, 1, queries=600, keys=600, causal=True, window=(300, 0), dtype=torch.float32)
        expected, before = {name: watch(caught(call)) for name, call in made.items()}, torch.get_default_dtype()
        try:
            torch.set_default_dtype(dtype)
            found = {name: watch(caught(call)) for name, call in made.items()}
            assert torch.get_default_dtype() == dtype
        finally:
            torch.set_default_dtype(before)
        for name, watched in found.items():
            assert_same(watched, expected[name])

    def test_is_not_heard(self, monkeypatch):
        def heard(*_, **__):
            raise AssertionError("attention was called")

        for name in ("scaled_dot_product_attention", "multi_head_attention_forward"):
            monkeypatch.setattr(torch.nn.functional, name, heard)
        watch(answered(make_call(causal=True)))

    def test_has_its_tensors_unchanged_and_to_itself(self):
        call = answered(make_call(bias=drawn(2, 1, 4, 5, 7)))
        tensors = (call.inputs.q, call.inputs.k, call.inputs.v, call.inputs.rules.bias, call.output)
        copies, alive = [x.clone() for x in tensors], [weakref.ref(x) for x in tensors]
        watched = watch(call)
        assert all(torch.equal(x, copy) for x, copy in zip(tensors, copies, strict=True))
        del call, tensors
        gc.collect()
        assert [one() for one in alive] == [None] * 5
        assert watched.inspection.metrics


def test_no_tensor_is_left_of_many_calls():
    watch(answered(make_call()))
    with no_tensor_left():
        for seed in range(20):
            watch(answered(make_call(queries=1, keys=seed + 1, seed=seed)))


def test_what_goes_wrong_beside_a_program_leaves_it_as_it_was():
    def go_wrong():
        with unseen(), plainly(["cpu"]):
            assert not torch.is_inference_mode_enabled()
            assert not torch.is_grad_enabled()
            raise RuntimeError("in between")

    with torch.inference_mode():
        with pytest.raises(RuntimeError, match="in between"):
            go_wrong()
        assert torch.is_inference_mode_enabled()
    assert torch.is_grad_enabled()
