"""Functions of other libraries are heard as programs call them, and give what they gave."""

import functools
import sys

import pytest
import torch
from torch import nn
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

from attn_cli.attention.textbook import attend
from attn_cli.recording.libraries.flash_attention import SECOND
from attn_cli.recording.libraries.xformers import MODULE as XFORMERS
from attn_cli.recording.options import RecordOptions
from attn_cli.recording.recorder import Recorder
from attn_cli.recording.swapping.patching import listening
from tests.recording import flash_fakes, xformers_fakes
from tests.recording.libraries_fakes import drawn, installed

__all__ = ["installed"]
pytestmark = pytest.mark.filterwarnings("ignore:.*without torch.compile")
DOCUMENTS = torch.tensor([[0, 0, 1, 1, 1, 2], [0, 0, 0, 0, 1, 1]])
SLOPES = torch.tensor([0.5, 0.25, 0.125, 0.0625], dtype=torch.float64)
COMPILER = {"backend": "aot_eager"}


class Calls(list):
    def take(self, call):
        self.append(call)
        return True


def record(program):
    """What a program gives, and the calls it made."""
    calls = Calls()
    recorder = Recorder(RecordOptions(), calls)
    with listening(recorder):
        result = program()
    assert (recorder.heard.fault, recorder.heard.passed_over) == (None, ())
    return result, calls


def assert_reproduces(call):
    torch.testing.assert_close(attend(call.inputs).output, call.output, rtol=1e-11, atol=1e-12)


def in_documents(b, h, i, j):  # noqa: ARG001
    return DOCUMENTS[b][i] == DOCUMENTS[b, j]


def alibi(score, b, h, i, j):  # noqa: ARG001
    return score + SLOPES[h] * (j - i)


def flex():
    return sys.modules["torch.nn.attention.flex_attention"].flex_attention


@pytest.fixture
def given():
    q, k, v = (drawn(2, 4, 6, 8, seed=n) for n in range(3))
    return q, k, v, alibi, create_block_mask(in_documents, 2, 4, 6, 6, device="cpu")


class TestFlex:
    def test_called_as_it_is(self, given):
        result, calls = record(lambda: flex()(*given))
        assert torch.equal(result, flex_attention(*given))
        assert [call.site.function for call in calls] == ["flex_attention"]
        assert calls[0].inputs.rules.bias.shape == (1, 4, 6, 6)
        assert_reproduces(calls[0])

    @pytest.mark.parametrize(
        "compiled",
        [
            lambda: torch.compile(flex(), **COMPILER),
            lambda: torch.compile(dynamic=False, **COMPILER)(flex()),
            lambda: torch.compile(functools.partial(flex()), **COMPILER),
        ],
        ids=["function", "decorator", "partial"],
    )
    def test_compiled_by_itself(self, given, compiled):
        expected = torch.compile(flex_attention, **COMPILER)(*given)

        def program():
            function = compiled()
            return [function(*given) for _ in range(2)]

        results, calls = record(program)
        assert all(torch.equal(result, expected) for result in results)
        assert len(calls) == 2
        for call in calls:
            assert_reproduces(call)

    def test_compiled_with_arguments_of_its_own(self, given):
        *heads, mod, mask = given
        result, calls = record(
            lambda: torch.compile(functools.partial(flex(), score_mod=mod, block_mask=mask), **COMPILER)(*heads)
        )
        assert torch.equal(result, torch.compile(flex_attention, **COMPILER)(*given))
        assert calls[0].inputs.rules.bias.shape == (1, 4, 6, 6)
        assert_reproduces(calls[0])

    @pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad])
    def test_whatever_mode_the_program_is_in(self, given, mode):
        def program():
            with mode(), torch.autocast("cpu", torch.bfloat16):
                return flex()(*given)

        _, calls = record(program)
        assert_reproduces(calls[0])

    def test_compiling_other_things_is_left_alone(self):
        layer = nn.Linear(2, 2)

        def program():
            @torch.compile(backend="eager")
            def twice(x):
                return 2 * x

            return torch.compile(layer, backend="eager"), twice

        (compiled, twice), calls = record(program)
        assert isinstance(compiled, nn.Module)
        assert compiled._orig_mod is layer
        assert torch.equal(twice(torch.ones(2)), torch.full((2,), 2.0))
        assert calls == []


class TestInstalled:
    @pytest.fixture(autouse=True)
    def modules(self, installed):
        installed(SECOND, flash_fakes.SECOND, "2.7.4")
        installed("flash_attn", flash_fakes.SECOND)
        installed(XFORMERS, xformers_fakes.FUNCTIONS)
        installed("xformers.ops", xformers_fakes.FUNCTIONS)

    def test_flash_attention_from_its_package(self):
        q, k, v = (drawn(2, 5, 4, 8, seed=n) for n in range(3))
        result, calls = record(lambda: sys.modules["flash_attn"].flash_attn_func(q, k, v, causal=True))
        assert torch.equal(result, flash_fakes.flash_attn_func(q, k, v, causal=True))
        assert [call.site.function for call in calls] == ["flash_attn_func"]
        assert calls[0].inputs.rules.mask.causal
        assert_reproduces(calls[0])

    def test_sequences_of_several_lengths(self):
        qkv, bounds = drawn(8, 3, 4, 8), torch.tensor([0, 3, 8], dtype=torch.int32)
        function = "flash_attn_varlen_qkvpacked_func"
        result, calls = record(lambda: getattr(sys.modules["flash_attn"], function)(qkv, bounds, 5, causal=True))
        assert result.shape == (8, 4, 8)
        assert calls[0].inputs.rules.mask.valid_lens.tolist() == [[3, 3, 3, 0, 0], [5] * 5]
        assert_reproduces(calls[0])

    def test_masks_that_are_tensors_of_their_own_class(self):
        q, k, v = (drawn(2, 5, 4, 8, seed=n) for n in range(3))

        class LowerTriangularMask(torch.Tensor, xformers_fakes.AttentionBias):
            @staticmethod
            def __new__(cls):
                return torch.Tensor._make_wrapper_subclass(cls, [], dtype=torch.float32)

            @classmethod
            def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
                raise AssertionError(f"{func} of a mask of {types}, {args}, {kwargs}")

            materialize = xformers_fakes.LowerTriangularMask.materialize

        mask = LowerTriangularMask()
        _, calls = record(lambda: sys.modules["xformers.ops"].memory_efficient_attention(q, k, v, mask))
        assert calls[0].inputs.rules.mask.causal
        assert_reproduces(calls[0])

    def test_what_a_function_calls_itself_is_not_heard_again(self, installed):
        def memory_efficient_attention(query, key, value, attn_bias=None, p=0.0, scale=None):
            heads = (x.transpose(1, 2) for x in (query, key, value))
            attention = torch.nn.functional.scaled_dot_product_attention
            return attention(*heads, attn_mask=attn_bias, dropout_p=p, scale=scale).transpose(1, 2)

        installed(XFORMERS, [memory_efficient_attention])
        q, k, v = (drawn(2, 5, 4, 8, seed=n) for n in range(3))
        _, calls = record(lambda: sys.modules[XFORMERS].memory_efficient_attention(q, k, v))
        assert [call.site.function for call in calls] == ["memory_efficient_attention"]
        assert_reproduces(calls[0])
