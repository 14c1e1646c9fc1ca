"""Every contender computes what float64 NumPy does, or says why it cannot."""

import sys

import numpy as np
import pytest
import torch

from attn_cli.benchmark.contenders import CONTENDERS
from attn_cli.benchmark.contenders import installed as installed_module
from attn_cli.benchmark.contenders.installed import leaf
from attn_cli.benchmark.inputs import draw, input_bytes, output_bytes
from attn_cli.errors import BackendError
from tests.benchmark.cases import CPU, make_case

CUDA = torch.device("cuda")  # named alone: nothing runs on it
FORWARD = ("textbook", "sdpa", "flash", "math", "flex", "inspect")
BACKWARD = ("textbook", "sdpa", "flash", "math")
SHAPES = {
    "square": {"queries": 9, "keys": 9},
    "square causal": {"queries": 9, "keys": 9, "causal": True},
    "grouped causal": {"batch": 2, "heads": 4, "kv_heads": 2, "queries": 9, "keys": 9, "causal": True},
    "cache": {"heads": 4, "kv_heads": 1, "queries": 5, "keys": 12, "causal": True},
    "long queries": {"queries": 12, "keys": 5},
}


def numpy_attention(q, k, v, causal):
    """``(B, Hq, Sq, D)``: the definition, head by head, with causal order aligned at the last key."""
    batch, heads, queries, size = q.shape
    keys, groups = k.shape[2], heads // k.shape[1]
    output = np.zeros_like(q)
    weights = np.zeros((batch, heads, queries, keys))
    for b in range(batch):
        for h in range(heads):
            for i in range(queries):
                seen = i + keys - queries + 1 if causal else keys
                logits = k[b, h // groups, :seen] @ q[b, h, i] / np.sqrt(size)
                row = np.exp(logits - logits.max())
                weights[b, h, i, :seen] = row / row.sum()
            output[b, h] = weights[b, h] @ v[b, h // groups]
    return output, weights


def numpy_gradients(q, k, v, gradient, causal):
    """Of Q, K and V, by the chain rule written out: dP = dO·Vᵀ, dS = P∘(dP − rowsum(P∘dP))."""
    _, weights = numpy_attention(q, k, v, causal)
    groups, scale = q.shape[1] // k.shape[1], q.shape[-1] ** -0.5
    dq, dk, dv = np.zeros_like(q), np.zeros_like(k), np.zeros_like(v)
    for b in range(q.shape[0]):
        for h in range(q.shape[1]):
            p, g = weights[b, h], h // groups
            dp = gradient[b, h] @ v[b, g].T
            ds = p * (dp - (p * dp).sum(axis=1, keepdims=True)) * scale
            dq[b, h] = ds @ k[b, g]
            dk[b, g] += ds.T @ q[b, h]
            dv[b, g] += p.T @ gradient[b, h]
    return dq, dk, dv


def as_numpy(*tensors):
    return tuple(x.detach().double().numpy() for x in tensors)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", FORWARD)
def test_forward_is_the_definition(name, shape):
    drawn = draw(make_case(dtype="float64", **SHAPES[shape]), CPU)
    (output,) = CONTENDERS[name].prepare(drawn)()
    expected, _ = numpy_attention(*as_numpy(*drawn.leaves), drawn.case.causal)
    np.testing.assert_allclose(output.numpy(), expected, atol=1e-9)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", BACKWARD)
def test_backward_is_the_chain_rule(name, shape):
    drawn = draw(make_case(dtype="float64", mode="backward", **SHAPES[shape]), CPU)
    run = CONTENDERS[name].prepare(drawn)
    for _ in range(2):  # timed more than once on one graph
        gradients = run()
    expected = numpy_gradients(*as_numpy(*drawn.leaves, drawn.gradient), drawn.case.causal)
    for found, wanted in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(found.numpy(), wanted, atol=1e-9)


def test_rows_that_see_nothing_are_zero():
    drawn = draw(make_case(queries=9, keys=4, causal=True), CPU)
    for name in ("textbook", "math", "flex", "inspect"):
        (output,) = CONTENDERS[name].prepare(drawn)()
        assert not output[:, :, :5].any(), name
        assert output[:, :, 5:].any(), name


def test_the_order_is_that_of_the_table():
    expected = "textbook sdpa flash efficient cudnn math flex inspect flash-attn xformers"
    assert list(CONTENDERS) == expected.split()
    assert all(name == contender.name for name, contender in CONTENDERS.items())


@pytest.mark.parametrize(
    ("name", "mode", "reason"),
    [
        ("efficient", "forward", "on CUDA alone"),
        ("cudnn", "forward", "on CUDA alone"),
        ("flex", "backward", "on CUDA alone"),
        ("inspect", "backward", "no backward pass"),
    ],
)
def test_what_cannot_run_here_says_why(name, mode, reason):
    assert reason in CONTENDERS[name].refusal(make_case(mode=mode), CPU)
    if name != "inspect":
        assert CONTENDERS[name].refusal(make_case(mode=mode), CUDA) is None


@pytest.mark.parametrize(("name", "package"), [("flash-attn", "flash_attn"), ("xformers", "xformers")])
def test_a_package_that_is_missing_is_named(monkeypatch, name, package):
    case = make_case(dtype="bfloat16")
    monkeypatch.setattr(installed_module.importlib.util, "find_spec", lambda _: None)
    assert CONTENDERS[name].refusal(case, CUDA) == f"{package} is not installed"
    monkeypatch.setattr(installed_module.importlib.util, "find_spec", lambda _: object())
    assert CONTENDERS[name].refusal(case, CUDA) is None
    assert CONTENDERS[name].refusal(case, CPU) == f"{package} runs on CUDA alone"


def test_flash_attn_refuses_what_it_has_no_kernel_for(monkeypatch):
    monkeypatch.setattr(installed_module.importlib.util, "find_spec", lambda _: object())
    flash = CONTENDERS["flash-attn"]
    assert "float32" in flash.refusal(make_case(dtype="float32"), CUDA)
    assert "256" in flash.refusal(make_case(dtype="float16", head_dim=512), CUDA)


def _in_their_layout(q, k, v, causal, scale):
    """SDPA on ``(B, S, H, D)``."""
    drawn = [x.transpose(1, 2) for x in (q, k, v)]
    mask = torch.ones(q.shape[1], k.shape[1]).tril(k.shape[1] - q.shape[1]).bool() if causal else None
    output = torch.nn.functional.scaled_dot_product_attention(
        *drawn, attn_mask=mask, scale=scale, enable_gqa=q.shape[2] != k.shape[2]
    )
    return output.transpose(1, 2)


class _FlashAttn:
    __version__ = "2.9"

    @staticmethod
    def flash_attn_func(q, k, v, softmax_scale, causal):
        assert all(x.is_contiguous() for x in (q, k, v))
        return _in_their_layout(q, k, v, causal, softmax_scale)


class _XFormers:
    LowerTriangularFromBottomRightMask = staticmethod(lambda: "causal")

    @staticmethod
    def memory_efficient_attention(q, k, v, attn_bias, scale):
        if q.dim() == 4:
            return _in_their_layout(q, k, v, attn_bias == "causal", scale)
        shape = q.shape
        q, k, v = (x.flatten(2, 3) for x in (q, k, v))
        return _in_their_layout(q, k, v, attn_bias == "causal", scale).reshape(shape)


@pytest.mark.parametrize("mode", ["forward", "backward"])
@pytest.mark.parametrize("shape", ["grouped causal", "cache", "square"])
def test_packages_get_their_layout_and_give_ours(monkeypatch, shape, mode):
    monkeypatch.setitem(sys.modules, "flash_attn", _FlashAttn)
    for module in ("xformers.ops", "xformers.ops.fmha.attn_bias"):
        monkeypatch.setitem(sys.modules, module, _XFormers)
    drawn = draw(make_case(dtype="float64", mode=mode, **SHAPES[shape]), CPU)
    expected = CONTENDERS["textbook"].prepare(drawn)()
    for name in ("flash-attn", "xformers"):
        for found, wanted in zip(CONTENDERS[name].prepare(drawn)(), expected, strict=True):
            torch.testing.assert_close(found, wanted, atol=1e-9, rtol=0)


@pytest.mark.parametrize("mode", ["forward", "backward"])
@pytest.mark.parametrize("name", ["flash-attn", "xformers"])
def test_what_is_laid_out_beforehand_is_the_same_case_and_is_not_copied_again(monkeypatch, name, mode):
    monkeypatch.setitem(sys.modules, "flash_attn", _FlashAttn)
    for module in ("xformers.ops", "xformers.ops.fmha.attn_bias"):
        monkeypatch.setitem(sys.modules, module, _XFormers)
    drawn = draw(make_case(queries=9, dtype="float64", mode=mode), CPU)
    laid_out = CONTENDERS[name].laid_out(drawn)
    tensors = [*laid_out.leaves, *([] if laid_out.gradient is None else [laid_out.gradient])]
    assert all(leaf(x).data_ptr() == x.data_ptr() for x in tensors)
    assert not any(leaf(x).data_ptr() == x.data_ptr() for x in drawn.leaves)
    for found, wanted in zip(CONTENDERS[name].prepare(laid_out)(), CONTENDERS[name].prepare(drawn)(), strict=True):
        torch.testing.assert_close(found, wanted, atol=0, rtol=0)
    assert CONTENDERS[name].working_bytes(drawn.case, CUDA) == sum(x.nbytes for x in tensors)


def test_a_kernel_that_pytorch_refuses_gives_pytorchs_reason():
    drawn = draw(make_case(), CPU)
    with pytest.raises(BackendError, match="No viable backend"):
        CONTENDERS["efficient"].prepare(drawn)()


@pytest.mark.parametrize(("name", "kernel"), [("flash", "flash_attention_for_cpu"), ("math", "attention_math")])
def test_the_kernel_is_the_one_that_was_asked_for(name, kernel):
    for mode in ("forward", "backward"):
        drawn = draw(make_case(mode=mode), CPU)
        run = CONTENDERS[name].prepare(drawn)
        assert kernel in CONTENDERS[name].kernel(drawn, run)
        assert kernel in CONTENDERS[name].kernel(drawn, run)  # and on the quick way of the later runs


def test_the_same_case_is_drawn_the_same():
    case = make_case(mode="backward")
    first, second = draw(case, CPU), draw(case, CPU)
    assert all(torch.equal(a, b) for a, b in zip(first.leaves, second.leaves, strict=True))
    assert torch.equal(first.gradient, second.gradient)
    assert all(x.requires_grad for x in first.leaves)
    assert not any(x.requires_grad for x in draw(make_case(), CPU).leaves)
    assert not torch.equal(first.inputs.q, first.inputs.k)


@pytest.mark.parametrize("mode", ["forward", "backward"])
def test_bytes_are_those_of_the_tensors(mode):
    case = make_case(heads=4, kv_heads=2, queries=5, keys=9, dtype="bfloat16", mode=mode)
    drawn = draw(case, CPU)
    given = [*drawn.leaves, *([] if drawn.gradient is None else [drawn.gradient])]
    assert input_bytes(case) == sum(x.nbytes for x in given)
    results = sum(x.nbytes for x in CONTENDERS["sdpa"].prepare(drawn)())
    assert output_bytes(case) == results + (drawn.gradient.nbytes if mode == "backward" else 0)  # the output is held
    output = drawn.inputs.q.nbytes
    moved = sum(x.nbytes for x in given) + output + (0 if mode == "forward" else sum(x.nbytes for x in drawn.leaves))
    assert case.bytes_moved(2) == moved  # backward: the output is read, and a gradient of each of Q, K and V written
