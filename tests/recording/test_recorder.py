"""What a recorder keeps, counts and leaves alone."""

import cProfile
import os
import random
import sys
import threading

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.overrides import TorchFunctionMode

from attn_cli.recording.libraries.base import PassedOver
from attn_cli.recording.options import RecordOptions
from attn_cli.recording.recorder import Recorder
from attn_cli.recording.swapping.patching import listening
from attn_cli.recording.types import Heard
from tests.recording import programs
from tests.recording.kept import Kept, recorded, weights_of

X = torch.randn(1, 2, 4, 8)


def attend(times=1):
    return [F.scaled_dot_product_attention(X, X, X) for _ in range(times)]


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 6), st.integers(0, 6), st.one_of(st.none(), st.integers(0, 6)), st.integers(0, 6))
def test_calls_of_a_range_are_kept_and_all_are_counted(total, first, stop, room):
    _, calls, heard = recorded(lambda: attend(total), room=room, first_call=first, call_stop=stop)
    wanted = list(range(total))[first:stop]
    assert [call.number for call in calls] == wanted[:room]
    assert [call.site.step for call in calls] == wanted[:room]
    assert (heard.calls, heard.kept, heard.is_full) == (total, len(calls), len(wanted) > room)


def test_layers_are_chosen_by_their_path():
    model, given = programs.bert(), programs.prompts()
    _, calls, heard = recorded(lambda: model(**given), layers=("encoder.layer.[02].*",))
    assert [call.site.module for call in calls] == [f"encoder.layer.{n}.attention.self" for n in (0, 2)]
    assert [call.number for call in calls] == [0, 2]
    assert heard.calls == 3


def test_fast_paths_are_chosen_by_the_path_of_their_attention():
    encoder = programs.encoder().eval()
    with torch.no_grad():
        _, calls, _ = recorded(lambda: encoder(torch.randn(2, 5, 32)), layers=("layers.1.self_attn",))
    assert [call.site.module for call in calls] == ["layers.1.self_attn"]


@pytest.mark.parametrize("make", [programs.bert, programs.gpt2, programs.llama], ids=["bert", "gpt2", "llama"])
def test_caught_weights_are_the_models_own_and_its_results_the_same(make):
    given = programs.prompts()
    with torch.no_grad():
        plain = make()(**given)[0]
        model = make()
        result, calls, heard = recorded(lambda: model(**given)[0])
        own = make("eager")(**given, output_attentions=True).attentions
    assert torch.equal(plain, result)
    assert (len(calls), heard.fault, heard.passed_over) == (len(own), None, ())
    shown = given["attention_mask"].bool()[:, None, :, None]
    for call, weights in zip(calls, own, strict=True):
        torch.testing.assert_close(weights_of(call) * shown, weights * shown, rtol=0, atol=1e-5)


def test_generation_is_the_same_and_its_steps_know_their_tokens():
    model, given = programs.llama(), programs.prompts(left=True)
    torch.manual_seed(3)
    plain = model.generate(**given, max_new_tokens=4, do_sample=True)
    torch.manual_seed(3)
    result, calls, _ = recorded(lambda: model.generate(**given, max_new_tokens=4, do_sample=True))
    assert torch.equal(plain, result)
    assert [(call.site.module, call.site.step) for call in calls] == [
        (f"model.layers.{layer}.self_attn", step) for step in range(4) for layer in range(2)
    ]
    for call in calls:
        assert torch.equal(call.inputs.token_ids, result[:, : call.inputs.k.shape[2]])


@pytest.mark.parametrize("length", [1, 4, 7])
def test_queries_that_were_packed_for_speed_are_heads_again(length):
    """Four query heads read one key/value head: a prompt of four tokens is not to be mistaken for them."""
    model, ids = programs.llama(), torch.randint(2, 50, (2, length + 1))
    eager = programs.llama("eager")
    hidden = {"attention_mask": torch.cat([torch.tensor([[0], [1]]), torch.ones(2, length, dtype=torch.int64)], 1)}
    with torch.no_grad():
        before = {name: model(ids[:, :length], attention_mask=hidden["attention_mask"][:, :length]) for name in "ab"}
        for given in ({"input_ids": ids[:, :length]}, {"input_ids": ids[:, length:], **hidden}):
            kept = given if "attention_mask" not in given else {**given, "past_key_values": before["a"].past_key_values}
            _, calls, heard = recorded(lambda kept=kept: model(**kept))
            own = eager(**{**given, **({"past_key_values": before["b"].past_key_values} if kept is not given else {})},
                        output_attentions=True).attentions  # fmt: skip
            assert heard.fault is None
            for call, weights in zip(calls, own, strict=True):
                shown = weights.isfinite()
                torch.testing.assert_close(weights_of(call) * shown, weights * shown, rtol=0, atol=1e-5)


def test_tokens_of_later_calls_are_known_where_earlier_ones_are_not_kept():
    model, given = programs.llama(), programs.prompts()
    result, calls, _ = recorded(
        lambda: model.generate(**given, max_new_tokens=4, do_sample=False), first_call=6, layers=("*.1.*",)
    )
    assert [call.number for call in calls] == [7]
    assert torch.equal(calls[0].inputs.token_ids, result[:, :10])


def test_nothing_of_the_programs_state_is_changed():
    def state():
        return (
            torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist(),
            torch.get_num_threads(), torch.is_grad_enabled(), torch.is_inference_mode_enabled(),
            torch.is_autocast_enabled("cpu"), torch.get_default_dtype(), torch.are_deterministic_algorithms_enabled(),
        )  # fmt: skip

    before = state()
    recorded(lambda: attend(3))
    assert state() == before
    with torch.autocast("cpu", torch.bfloat16), torch.inference_mode():
        before = state()
        recorded(lambda: attend(3))
        assert state() == before


def test_modes_of_the_program_see_only_what_the_program_does():
    from torch.utils.flop_counter import FlopCounterMode

    class Counting(TorchFunctionMode):
        def __init__(self):
            super().__init__()
            self.functions = []

        def __torch_function__(self, func, types, args=(), kwargs=None):
            self.functions.append(func.__name__)
            return func(*args, **(kwargs or {}))

    def run():
        with Counting() as counting, FlopCounterMode(display=False) as flops:
            attend(2)
        return counting.functions, flops.get_total_flops()

    plain = run()
    result, calls, heard = recorded(run)
    assert result == plain
    assert (len(calls), heard.calls) == (2, 2)


def test_a_fault_ends_the_recording_and_never_the_program():
    class Broken:
        def take(self, call):
            raise OSError("no space\nleft")

    recorder = Recorder(RecordOptions(), Broken())
    with listening(recorder):
        results = attend(3)
    assert len(results) == 3
    assert recorder.heard.fault == "OSError: no space left (in take of test_recorder.py)"
    assert (recorder.heard.calls, recorder.heard.kept) == (1, 0)


def test_a_call_that_comes_to_something_unexpected_is_passed_over_alone():
    class Answering(TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            if func is F.scaled_dot_product_attention:
                return torch.zeros(1)
            return func(*args, **(kwargs or {}))

    def run():
        attend()
        with Answering():
            assert torch.equal(attend()[0], torch.zeros(1))
        attend()

    _, calls, heard = recorded(run)
    assert [call.number for call in calls] == [0, 2]
    assert (heard.calls, heard.kept, heard.fault) == (3, 2, None)
    ((why, number),) = heard.passed_over
    assert why.startswith("could not be read: RuntimeError in ")
    assert number == 1


@pytest.mark.parametrize("where", ["recorder.make_caught", "recorder.unpacked", "token_ids.bits"])
@pytest.mark.parametrize("fault", [MemoryError, torch.OutOfMemoryError, AssertionError])
def test_a_call_for_which_there_is_no_memory_is_passed_over(monkeypatch, where, fault):
    def failing(*_):
        raise fault("20 GiB")

    model, given = programs.llama(), programs.prompts()
    with monkeypatch.context() as patched:
        patched.setattr(f"attn_cli.recording.{where}", failing)
        _, calls, heard = recorded(lambda: model.generate(**given, max_new_tokens=2, do_sample=False))
    kept = 2 if where == "token_ids.bits" else 0  # the keys of the prompt have no history
    assert (heard.calls, len(calls), heard.fault) == (4, kept, None)
    assert heard.passed_over == ((f"could not be read: {fault.__name__} in failing of test_recorder.py", 4 - kept),)


def test_a_call_that_is_too_early_may_fail_unsaid(monkeypatch):
    def failing(*_):
        raise MemoryError

    model, given = programs.bert(), programs.prompts()
    monkeypatch.setattr("attn_cli.recording.recorder.unpacked", failing)
    _, _, heard = recorded(lambda: model(**given), first_call=2)
    assert heard.passed_over == (("could not be read: MemoryError in failing of test_recorder.py", 1),)


def test_arguments_that_the_function_refuses_are_the_programs_own_matter():
    def run():
        with pytest.raises(TypeError):
            F.multi_head_attention_forward(X, nothing_like_this=True)
        attend()

    _, calls, heard = recorded(run)
    assert (len(calls), heard.calls, heard.fault) == (1, 1, None)


def test_what_the_sink_passes_over_is_told():
    class Choosing(Kept):
        def take(self, call):
            if call.number == 1:
                raise PassedOver("the second")
            return super().take(call)

    sink = Choosing()
    recorder = Recorder(RecordOptions(), sink)
    with listening(recorder):
        attend(3)
    assert [call.number for call in sink] == [0, 2]
    assert recorder.heard == Heard(calls=3, kept=2, passed_over=(("the second", 1),))


def in_a_thread(run):
    """Whether it comes to an end."""
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(timeout=30)
    return not thread.is_alive()


def test_what_was_heard_may_be_asked_for_while_a_call_is_kept():
    """As the handler of a signal does, in the thread that it interrupts."""
    asked = []

    class Interrupted(Kept):
        def take(self, call):
            asked.append(recorder.heard)
            return super().take(call)

    recorder = Recorder(RecordOptions(), Interrupted())
    with listening(recorder):
        assert in_a_thread(lambda: attend(2))
    assert [(heard.calls, heard.kept) for heard in asked] == [(1, 0), (2, 1)]


def test_threads_do_not_wait_for_each_others_sink():
    both = threading.Barrier(2, timeout=30)

    class Meeting(Kept):
        def take(self, call):
            both.wait()
            return super().take(call)

    recorder = Recorder(RecordOptions(), Meeting())
    with listening(recorder):
        threads = [threading.Thread(target=attend) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert recorder.heard == Heard(calls=2, kept=2)


def test_an_interrupt_reaches_the_program():
    class Interrupted:
        def take(self, call):
            raise KeyboardInterrupt

    recorder = Recorder(RecordOptions(), Interrupted())
    with pytest.raises(KeyboardInterrupt), listening(recorder):
        attend()
    assert len(recorded(attend)[1]) == 1


def test_what_the_sink_calls_is_not_heard():
    class Attending(Kept):
        def take(self, call):
            attend()
            return super().take(call)

    sink = Attending()
    recorder = Recorder(RecordOptions(), sink)
    with listening(recorder):
        attend(2)
    assert (len(sink), recorder.heard.calls) == (2, 2)


def test_threads_are_heard_side_by_side():
    def run():
        threads = [threading.Thread(target=attend, args=(20,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    _, calls, heard = recorded(run)
    assert (heard.calls, heard.kept, heard.fault) == (80, 80, None)
    assert sorted(call.number for call in calls) == list(range(80))
    assert sorted(call.site.step for call in calls) == list(range(80))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_does_not_record():
    kept = Kept()
    recorder = Recorder(RecordOptions(), kept)
    with listening(recorder):
        child = os.fork()
        if child == 0:
            torch.set_num_threads(1)
            x = torch.ones(1, 1, 1, 1)
            F.scaled_dot_product_attention(x, x, x)
            os._exit(len(kept) + recorder.heard.calls)
        _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


EMPTY = {
    "queries": lambda: F.scaled_dot_product_attention(torch.ones(1, 2, 0, 8), X, X),
    "batch": lambda: F.scaled_dot_product_attention(*[torch.ones(0, 2, 4, 8)] * 3),
    "batch of heads": lambda: nn.MultiheadAttention(8, 2, batch_first=True)(*[torch.ones(0, 3, 8)] * 3)[0],
    "batch of a layer": lambda: nn.TransformerEncoderLayer(8, 2, batch_first=True).eval()(torch.ones(0, 3, 8)),
}


@pytest.mark.parametrize("empty", EMPTY)
def test_empty_tensors_are_passed_over_in_words(empty):
    with torch.no_grad():
        _, calls, heard = recorded(EMPTY[empty])
    ((why, number),) = heard.passed_over
    assert (calls, heard.fault, number) == ([], None, 1)
    assert why in ("empty tensors", "q has no queries", "q has no batch")


def test_tensors_that_are_seen_negated_are_read():
    q = torch.randn(1, 2, 4, 8, dtype=torch.complex64).conj().imag
    assert q.is_neg()
    _, (call,), heard = recorded(lambda: F.scaled_dot_product_attention(q, q, q))
    assert heard.passed_over == ()
    assert torch.equal(call.inputs.q, q.resolve_neg())


@pytest.mark.parametrize("name", ["trace", "profile"])
def test_what_the_program_traces_is_its_own_and_goes_on(name):
    def watch(frame, _event, _argument):
        seen.add((os.path.basename(frame.f_code.co_filename), frame.f_code.co_name))
        return watch

    def after():
        return None

    def run():
        before = getattr(sys, f"get{name}")()
        getattr(sys, f"set{name}")(watch)
        try:
            attend()
            after()
            return getattr(sys, f"get{name}")()
        finally:
            getattr(sys, f"set{name}")(before)

    seen = set()
    still, calls, _ = recorded(run)
    assert (len(calls), still) == (1, watch)
    assert {("test_recorder.py", "attend"), ("test_recorder.py", "after")} <= seen
    assert not {"caught.py", "small.py", "place.py", "torch_sdpa.py"} & {file for file, _ in seen}


def test_a_profiler_that_is_not_written_in_python_stays():
    profile = cProfile.Profile()
    _, calls, heard = recorded(lambda: profile.runcall(attend))
    profile.create_stats()
    assert (len(calls), heard.fault) == (1, None)
    assert any(name == "attend" for _, _, name in profile.stats)
