"""Compiled code: the kernels that it calls are heard when it runs, and its results stay the same."""

import shutil

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.recording.kept import recorded

pytestmark = pytest.mark.filterwarnings("ignore")

inductor = pytest.param(
    "inductor", marks=pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs a C++ compiler")
)


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.project = nn.Linear(16, 48)

    def forward(self, x, mask=None):
        q, k, v = (part.unflatten(-1, (2, 8)).transpose(1, 2) for part in self.project(x).chunk(3, -1))
        return F.scaled_dot_product_attention(q, k, v, mask).transpose(1, 2).flatten(2) + x


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([Attention(), Attention()])

    def forward(self, x, mask=None):
        for layer in self.layers:
            x = layer(x, mask)
        return x


def model():
    torch.manual_seed(0)
    return Model()


def step(compiled, x):
    compiled.zero_grad()
    loss = compiled(x).square().mean()
    loss.backward()
    return [loss.detach(), *(parameter.grad.clone() for parameter in compiled.parameters())]


@pytest.fixture(autouse=True)
def _compiled_anew():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.parametrize("backend", ["eager", "aot_eager", inductor])
def test_compiled_layers_are_heard_once_a_run_with_the_same_results(backend):
    x = torch.randn(2, 5, 16)
    compiled = torch.compile(model(), backend=backend)
    with torch.no_grad():
        plain = compiled(x)
        torch._dynamo.reset()

        def run():
            compiled = torch.compile(model(), backend=backend)
            return compiled(x), compiled(x)

        results, calls, heard = recorded(run)
    assert all(torch.equal(result, plain) for result in results)
    assert (heard.calls, heard.kept, heard.fault, heard.compiled) == (4, 4, None, True)
    assert [(call.site.module, call.site.step) for call in calls] == [
        (f"Model.compiled.{layer}", step) for step in (0, 1) for layer in (0, 1)
    ]
    _, eager, _ = recorded(lambda: model()(x))
    for call, other in zip(calls, eager, strict=False):
        torch.testing.assert_close(call.inputs.q, other.inputs.q)
        torch.testing.assert_close(call.output, other.output)


@pytest.mark.parametrize("backend", ["aot_eager", inductor])
def test_a_compiled_training_step_is_the_same_bit_for_bit(backend):
    x = torch.randn(2, 5, 16)
    plain = step(torch.compile(model(), backend=backend), x)
    torch._dynamo.reset()
    result, calls, heard = recorded(lambda: step(torch.compile(model(), backend=backend), x))
    assert all(map(torch.equal, plain, result))
    assert (heard.calls, len(calls), heard.fault) == (2, 2, None)


def test_a_recompilation_for_other_shapes_keeps_the_layers_numbers():
    compiled = torch.compile(model(), backend="aot_eager", dynamic=False)
    with torch.no_grad():
        _, calls, _ = recorded(lambda: [compiled(torch.randn(2, n, 16)) for n in (5, 7)])
    assert [(call.site.module, call.site.step) for call in calls] == [
        (f"Model.compiled.{layer}", step) for step in (0, 1) for layer in (0, 1)
    ]


def test_a_compiled_layer_has_its_own_path():
    whole = model()
    whole.layers[1] = torch.compile(whole.layers[1], backend="aot_eager")
    with torch.no_grad():
        _, calls, _ = recorded(lambda: whole(torch.randn(2, 5, 16)))
    assert [call.site.module for call in calls] == ["layers.0", "layers.1.compiled.0"]


def test_a_mask_is_read_in_compiled_code():
    mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])[:, None, None]
    compiled, x = torch.compile(model(), backend="aot_eager"), torch.randn(2, 5, 16)
    with torch.no_grad():
        _, calls, _ = recorded(lambda: compiled(x, mask))
    assert calls[0].inputs.rules.mask.valid_lens.flatten().tolist() == [5, 3]


def test_a_program_compiled_before_is_heard_too():
    x = torch.randn(2, 5, 16)
    compiled = torch.compile(model(), backend="aot_eager")
    with torch.no_grad():
        plain = compiled(x)
        result, _, heard = recorded(lambda: compiled(x))
        again, _, second = recorded(lambda: compiled(x))
    assert torch.equal(result, plain)
    assert torch.equal(again, plain)
    assert (heard.calls, second.calls) == (2, 2)


def test_an_exported_program_is_heard_when_it_runs():
    x = torch.randn(2, 5, 16)

    def run():
        exported = torch.export.export(model(), (x,)).module()
        return exported(x)

    with torch.no_grad():
        result, _, heard = recorded(run)
        torch.testing.assert_close(result, model()(x))
    assert heard.calls == 2


def test_the_compiled_module_of_pytorchs_attention_is_heard():
    attention, x = nn.MultiheadAttention(16, 2, batch_first=True).eval(), torch.randn(2, 5, 16)
    with torch.no_grad():
        plain = torch.compile(attention, backend="aot_eager")(x, x, x, need_weights=False)[0]
        torch._dynamo.reset()
        compiled = torch.compile(attention, backend="aot_eager")
        result, _, heard = recorded(lambda: compiled(x, x, x, need_weights=False)[0])
    assert torch.equal(result, plain)
    assert (heard.calls, heard.kept) == (1, 1)
