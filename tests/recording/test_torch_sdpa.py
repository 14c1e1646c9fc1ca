"""Calls of F.scaled_dot_product_attention, judged by computing the output once more from what was caught."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.attention.bias import causal_lower_right, causal_upper_left

from attn_cli.recording.libraries.torch_sdpa import translate
from tests.recording.kept import recorded


def output_of(raw):
    """softmax(scale·QKᵀ + mask)·V in float64; causal order as the call says."""
    q, k, v = (x.double() for x in (raw.q, raw.k, raw.v))
    k, v = (x.repeat_interleave(q.shape[1] // x.shape[1], 1) for x in (k, v))
    logits = q @ k.mT * (q.shape[-1] ** -0.5 if raw.scale is None else raw.scale)
    if raw.mask is not None:
        logits = logits.masked_fill(~raw.mask, -torch.inf) if raw.mask.dtype == torch.bool else logits + raw.mask
    if raw.causal is not None:
        offset = 0 if raw.causal == "top-left" else k.shape[2] - q.shape[2]
        keep = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool).tril(offset)
        logits = logits.masked_fill(~keep, -torch.inf)
    return logits.softmax(-1) @ v


def translated(*args, **kwargs):
    result = F.scaled_dot_product_attention(*args, **kwargs)
    return translate(args, kwargs, result), result


def drawn(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_four_axes_say_what_any_number_of_axes_said(data):
    lead = data.draw(st.lists(st.integers(1, 3), max_size=3))
    queries, keys, seed = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 4)), data.draw(st.integers(0, 9))
    q, k, v = drawn(*lead, queries, 8, seed=seed), drawn(*lead, keys, 8, seed=seed + 1), drawn(*lead, keys, 5, seed=3)
    kind = data.draw(st.sampled_from(["none", "bool", "float", "causal"]))
    size = data.draw(st.integers(0, len(lead)))
    axes = [1 if data.draw(st.booleans()) else n for n in lead[len(lead) - size :]]
    mask = drawn(*axes, queries, keys, seed=seed + 2)
    if kind == "bool":
        mask = (mask > 0) | (torch.arange(keys) == 0)
    options = {"attn_mask": mask} if kind in ("bool", "float") else {"is_causal": kind == "causal"}
    raw, result = translated(q, k, v, scale=data.draw(st.sampled_from([None, 0.3])), **options)
    assert raw.q.dim() == raw.k.dim() == raw.v.dim() == 4
    assert raw.output.shape == (*raw.q.shape[:3], 5)
    torch.testing.assert_close(output_of(raw).reshape(result.shape), result, rtol=1e-9, atol=1e-9)
    assert torch.equal(raw.output.reshape(result.shape), result)


def test_grouped_queries_keep_their_key_value_heads():
    q, k, v = drawn(2, 6, 3, 8), drawn(2, 2, 5, 8, seed=1), drawn(2, 2, 5, 8, seed=2)
    raw, result = translated(q, k, v, enable_gqa=True)
    assert raw.k.shape == (2, 2, 5, 8)
    torch.testing.assert_close(output_of(raw), result)


def test_causal_biases_say_their_alignment():
    q, k, v = drawn(1, 2, 3, 8), drawn(1, 2, 5, 8, seed=1), drawn(1, 2, 5, 8, seed=2)
    for bias, causal in ((causal_upper_left(3, 5), "top-left"), (causal_lower_right(3, 5), "bottom-right")):
        result, calls, heard = recorded(lambda bias=bias: F.scaled_dot_product_attention(q, k, v, attn_mask=bias))
        raw = translate((q, k, v), {"attn_mask": bias}, result)
        assert (raw.causal, raw.mask, heard.calls) == (causal, None, 1)
        torch.testing.assert_close(output_of(raw), result)
        assert calls[0].inputs.rules.mask.causal


def test_an_output_is_kept_only_where_nothing_was_dropped():
    q = drawn(1, 2, 4, 8)
    assert translated(q, q, q, dropout_p=0.0)[0].output is not None
    raw, _ = translated(q, q, q, dropout_p=0.5)
    assert (raw.output, raw.dropout) == (None, 0.5)


def test_autocast_rounds_what_is_caught():
    q = torch.randn(1, 2, 4, 8)

    def run():
        with torch.autocast("cpu", torch.bfloat16):
            return F.scaled_dot_product_attention(q, q, q, attn_mask=torch.randn(4, 4))

    result, calls, _ = recorded(run)
    assert result.dtype == torch.bfloat16
    assert calls[0].inputs.q.dtype == torch.bfloat16
    assert torch.equal(calls[0].inputs.q, q.bfloat16())


@pytest.mark.parametrize("make", [
    lambda x: x.clone().requires_grad_(),
    lambda x: x.transpose(2, 3).contiguous().transpose(2, 3),
    lambda x: x[:1].expand(2, -1, -1, -1),
    lambda x: nn.Parameter(x),
    lambda x: x.to(torch.bfloat16),
])  # fmt: skip
def test_tensors_of_any_kind_are_caught_as_they_are(make):
    x = make(torch.randn(2, 2, 4, 8))
    result, calls, heard = recorded(lambda: F.scaled_dot_product_attention(x, x, x))
    assert heard.fault is None
    call = calls[0]
    assert torch.equal(call.inputs.q, x)
    assert torch.equal(call.output, result)
    assert not call.inputs.q.requires_grad
    assert call.inputs.q.dtype == x.dtype


def test_inference_tensors_are_caught():
    def run():
        with torch.inference_mode():
            x = torch.randn(2, 2, 4, 8)
            return F.scaled_dot_product_attention(x, x, x)

    result, calls, heard = recorded(run)
    assert (heard.calls, heard.kept, heard.fault) == (1, 1, None)
    assert torch.equal(calls[0].output, result)


def jagged():
    x = torch.nested.nested_tensor([torch.randn(3, 2, 8), torch.randn(5, 2, 8)], layout=torch.jagged).transpose(1, 2)
    return F.scaled_dot_product_attention(x, x, x)


def mapped():
    x = torch.randn(3, 1, 2, 4, 8)
    return torch.func.vmap(F.scaled_dot_product_attention)(x, x, x)


def without_data():
    x = torch.randn(1, 2, 4, 8, device="meta")
    return F.scaled_dot_product_attention(x, x, x)


@pytest.mark.parametrize(
    ("run", "reason"),
    [(jagged, "jagged nested tensors"), (mapped, "torch.func transforms"), (without_data, "tensors without data")],
)
@pytest.mark.filterwarnings("ignore:.*prototype", "ignore:There is a performance drop")
def test_what_cannot_be_read_is_passed_over_and_said(run, reason):
    _, calls, heard = recorded(run)
    assert not calls
    assert (heard.calls, heard.kept, heard.passed_over, heard.fault) == (1, 0, ((reason, 1),), None)


def test_tracing_is_no_call():
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.fx.experimental.proxy_tensor import make_fx

    x = torch.randn(1, 2, 4, 8)

    class Attention(nn.Module):
        def forward(self, x):
            return F.scaled_dot_product_attention(x, x, x)

    def run():
        with FakeTensorMode():
            y = torch.randn(1, 2, 4, 8)
            F.scaled_dot_product_attention(y, y, y)
        make_fx(Attention())(x)
        torch.fx.symbolic_trace(Attention())
        torch.export.export(Attention(), (x,))

    assert recorded(run)[2].calls == 0


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_torchscript_compiles_what_uses_it():
    def attend(x: torch.Tensor) -> torch.Tensor:
        return F.scaled_dot_product_attention(x, x, x)

    x = torch.randn(1, 2, 4, 8)
    scripted, _, _ = recorded(lambda: torch.jit.script(attend))
    assert torch.equal(scripted(x), attend(x))
