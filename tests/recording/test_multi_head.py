"""PyTorch's multi-head attention: what is caught, against the weights that it gives itself."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from attn_cli.recording.libraries import torch_multi_head
from attn_cli.recording.libraries.torch_multi_head import translate_forward, translate_layer, translate_native
from tests.recording import programs
from tests.recording.kept import recorded

PADDING = torch.tensor([[False] * 5, [False] * 3 + [True] * 2])
FUTURE = torch.ones(5, 5, dtype=torch.bool).triu(1)


def weights_of(raw):
    """softmax(QKᵀ/√D + what is added)."""
    logits = raw.q @ raw.k.mT / math.sqrt(raw.q.shape[-1])
    for mask in (raw.mask, raw.bias):
        if mask is not None:
            logits = logits.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else logits + mask
    if raw.valid_lens is not None:
        logits = logits.masked_fill(torch.arange(raw.k.shape[2]) >= raw.valid_lens[:, None, None, None], -torch.inf)
    return logits.softmax(-1)


def intercepted(monkeypatch, module, name, translate):
    """The translations of all calls of ``module.name``."""
    found, original = [], getattr(module, name)

    def stand_in(*args, **kwargs):
        result = original(*args, **kwargs)
        found.append(translate(args, kwargs, result))
        return result

    stand_in.__wrapped__ = original
    monkeypatch.setattr(module, name, stand_in)
    return found


def double(**options):
    torch.manual_seed(0)
    return nn.MultiheadAttention(32, 4, dtype=torch.float64, **options)


MASKS = [
    {},
    {"key_padding_mask": PADDING},
    {"attn_mask": FUTURE},
    {"attn_mask": FUTURE, "key_padding_mask": PADDING, "is_causal": True},
    {"attn_mask": torch.randn(5, 5, dtype=torch.float64)},
    {"attn_mask": torch.randn(5, 5, dtype=torch.float64), "key_padding_mask": torch.randn(2, 5, dtype=torch.float64)},
    {"attn_mask": torch.randn(8, 5, 5, dtype=torch.float64), "key_padding_mask": PADDING.double() * -1e300 * 1e300},
    {"attn_mask": torch.rand(8, 5, 5) > 0.8},
]


@pytest.mark.filterwarnings("ignore:Support for mismatched")
@pytest.mark.parametrize("masks", MASKS, ids=[" ".join(masks) for masks in MASKS])
@pytest.mark.parametrize("options", [{}, {"bias": False}, {"add_bias_kv": True}, {"add_zero_attn": True}], ids=str)
def test_projected_heads_and_masks_give_the_weights_of_the_module(monkeypatch, masks, options):
    found = intercepted(monkeypatch, F, torch_multi_head.FORWARD, translate_forward)
    module, x = double(batch_first=True, **options), torch.randn(2, 5, 32, dtype=torch.float64)
    if "add_bias_kv" in options:
        nn.init.normal_(module.bias_k)
    _, weights = module(x, x, x, average_attn_weights=False, **masks)
    torch.testing.assert_close(weights_of(found[0]), weights, rtol=1e-9, atol=1e-9, equal_nan=True)
    assert torch.equal(found[0].weights, weights)
    assert found[0].output is None


def test_other_widths_and_unbatched_inputs_are_projected(monkeypatch):
    found = intercepted(monkeypatch, F, torch_multi_head.FORWARD, translate_forward)
    module = double(kdim=10, vdim=12)
    x, k, v = (torch.randn(n, e, dtype=torch.float64) for n, e in ((4, 32), (6, 10), (6, 12)))
    _, weights = module(x, k, v, average_attn_weights=False)
    assert found[0].q.shape == (1, 4, 4, 8)
    torch.testing.assert_close(weights_of(found[0])[0], weights)


def test_averaged_and_dropped_weights_are_not_kept():
    x = torch.randn(2, 5, 32, dtype=torch.float64)
    _, calls, _ = recorded(lambda: double(batch_first=True)(x, x, x))
    _, dropped, _ = recorded(lambda: double(batch_first=True, dropout=0.5)(x, x, x, average_attn_weights=False))
    assert (calls[0].weights, dropped[0].weights, dropped[0].dropout) == (None, None, 0.5)


@pytest.mark.parametrize("masks", MASKS[:4], ids=[" ".join(masks) for masks in MASKS[:4]])
def test_the_fast_path_is_caught_with_its_weights(monkeypatch, masks):
    found = intercepted(monkeypatch, torch, torch_multi_head.NATIVE, translate_native)
    module, x = double(batch_first=True).eval(), torch.randn(2, 5, 32, dtype=torch.float64)
    with torch.no_grad():
        _, weights = module(x, x, x, average_attn_weights=False, **masks)
    torch.testing.assert_close(weights_of(found[0]), weights)
    assert torch.equal(found[0].weights, weights)


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("masks", [{}, {"src_key_padding_mask": PADDING}, {"src_mask": FUTURE}], ids=str)
def test_the_layers_fast_path_gives_the_weights_of_its_slow_one(monkeypatch, norm_first, masks):
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(32, 4, 48, 0.0, batch_first=True, norm_first=norm_first, dtype=torch.float64)
    found = intercepted(monkeypatch, torch, torch_multi_head.LAYER, translate_layer)
    x = torch.randn(2, 5, 32, dtype=torch.float64)
    with torch.no_grad():
        layer.eval()(x, **masks)
        inner = layer.norm1(x) if norm_first else x
        own = {name.replace("src_key", "key").replace("src_mask", "attn_mask"): mask for name, mask in masks.items()}
        _, weights = copy.deepcopy(layer.self_attn).train()(inner, inner, inner, average_attn_weights=False, **own)
    torch.testing.assert_close(weights_of(found[0]), weights)


@pytest.mark.filterwarnings("ignore:.*nested tensors.*prototype")
def test_nested_inputs_are_padded_and_their_lengths_known():
    encoder, x = programs.encoder().eval(), torch.randn(2, 5, 32)
    with torch.no_grad():
        plain = encoder(x, src_key_padding_mask=PADDING)
        result, calls, heard = recorded(lambda: encoder(x, src_key_padding_mask=PADDING))
    assert torch.equal(result, plain)
    assert [call.site.module for call in calls] == ["layers.0.self_attn", "layers.1.self_attn"]
    assert {call.site.function for call in calls} == {torch_multi_head.LAYER}
    assert calls[0].inputs.rules.mask.valid_lens.flatten().tolist() == [5, 3]
    assert heard.calls == 2


def test_a_training_step_is_the_same_bit_for_bit():
    def step():
        torch.manual_seed(0)
        encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(32, 4, 48, 0.1, batch_first=True), 2)
        encoder(torch.randn(2, 5, 32), src_key_padding_mask=PADDING).square().sum().backward()
        return [parameter.grad for parameter in encoder.parameters()]

    grads, calls, heard = recorded(step)
    assert all(map(torch.equal, grads, step()))
    assert (heard.calls, heard.fault) == (2, None)
    assert [call.site.module for call in calls] == ["layers.0.self_attn", "layers.1.self_attn"]
    assert {(call.site.function, call.dropout) for call in calls} == {("scaled_dot_product_attention", 0.1)}


def test_the_fast_path_is_still_taken_with_the_same_results():
    module, x = nn.MultiheadAttention(32, 4, batch_first=True).eval(), torch.randn(2, 5, 32)
    with torch.no_grad():
        plain = module(x, x, x)
        result, calls, _ = recorded(lambda: module(x, x, x))
    assert all(map(torch.equal, plain, result))
    assert [call.site.function for call in calls] == [torch_multi_head.NATIVE]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_torchscript_compiles_the_module():
    module, x = nn.MultiheadAttention(32, 4, batch_first=True), torch.randn(2, 5, 32)
    scripted, _, _ = recorded(lambda: torch.jit.script(module))
    assert torch.equal(scripted(x, x, x)[0], module(x, x, x)[0])
