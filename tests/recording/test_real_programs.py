"""Real models, recorded: they compute the same, and their captures hold what they attended to."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

import attn_cli
from attn_cli.inputs.options import ReadOptions
from attn_cli.inputs.source import open_calls
from tests.recording import programs

CLOSE = {"atol": 1e-5, "rtol": 0}


def record(path, run):
    """What ``run`` gives, and the calls that it made."""
    with attn_cli.record(path):
        result = run()
    return result, attn_cli.load(path)


def loaded(path):
    """The calls of a capture as every command reads them."""
    with open_calls(ReadOptions(file=str(path))) as source:
        return [plan.load() for plan in source.plans]


def probabilities(model, inputs):
    """What a model that keeps its weights says they are, a layer each ``(B, Hq, Sq, Sk)``."""
    with torch.no_grad():
        return model(**inputs, output_attentions=True).attentions


def weights_of(call):
    return call.inspect(weights=True).weights


@pytest.mark.parametrize(
    ("make", "inputs", "paths"),
    [
        (programs.bert, programs.prompts, "encoder.layer.{}.attention.self"),
        (programs.gpt2, programs.prompts, "transformer.h.{}.attn"),
        (programs.llama, programs.prompts, "model.layers.{}.self_attn"),
        (programs.minilm, programs.sentences, "encoder.layer.{}.attention.self"),
    ],
)
def test_a_forward_pass_is_the_same_and_its_weights_are_the_models_own(make, inputs, paths, tmp_path):
    model, given = make(), inputs()
    with torch.no_grad():
        plain = model(**given)[0]
        recorded, calls = record(tmp_path / "c.safetensors", lambda: model(**given)[0])
    assert torch.equal(plain, recorded)
    assert [call.prefix for call in calls] == [paths.format(layer) for layer in range(len(calls))]
    expected = probabilities(make("eager"), given)
    assert len(calls) == len(expected)
    seen = given["attention_mask"].bool()  # (B, S): what padding attends to is nobody's business
    for call, weights in zip(calls, expected, strict=True):
        found = weights_of(call).float()  # (B, Hq, S, S)
        assert_close(found.transpose(1, 2)[seen], weights.transpose(1, 2)[seen], **CLOSE)


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("make", [programs.gpt2, programs.llama])
def test_generation_with_a_cache_is_a_step_for_each_token(make, left, tmp_path):
    model, given = make(), programs.prompts(left)
    settings = {"max_new_tokens": 5, "do_sample": False, "output_attentions": True, "return_dict_in_generate": True}
    plain = model.generate(**given, max_new_tokens=5, do_sample=False)
    recorded, calls = record(
        tmp_path / "c.safetensors", lambda: model.generate(**given, max_new_tokens=5, do_sample=False)
    )
    assert torch.equal(plain, recorded)
    assert sorted({call.step for call in calls}) == [0, 1, 2, 3, 4]
    assert len(calls) == 5 * model.config.num_hidden_layers
    eager = make("eager").generate(**given, **settings)
    assert torch.equal(eager.sequences, plain)
    real = given["attention_mask"].bool()
    for call in calls:
        expected = eager.attentions[call.step][call.layer]
        found = weights_of(call).float()
        assert found.shape == expected.shape
        rows = real if call.step == 0 else torch.ones(2, 1, dtype=torch.bool)
        assert_close(found.transpose(1, 2)[rows], expected.transpose(1, 2)[rows], **CLOSE)


def test_grouped_queries_are_stored_once(tmp_path):
    model = programs.llama()
    with torch.no_grad():
        record(tmp_path / "c.safetensors", lambda: model(**programs.prompts()))
    for call in loaded(tmp_path / "c.safetensors"):
        assert call.inputs.q.shape[1] == 8
        assert call.inputs.k.shape[1] == 2


def test_padding_is_stored_as_valid_lengths_and_order_as_a_rule(tmp_path):
    model = programs.bert()
    with torch.no_grad():
        record(tmp_path / "bert.safetensors", lambda: model(**programs.prompts()))
    rule = loaded(tmp_path / "bert.safetensors")[0].inputs.rules.mask
    assert rule.valid_lens.tolist() == [7, 4]
    assert rule.keep is None
    model = programs.gpt2()
    with torch.no_grad():
        record(tmp_path / "gpt2.safetensors", lambda: model(input_ids=programs.prompts()["input_ids"]))
    rule = loaded(tmp_path / "gpt2.safetensors")[0].inputs.rules.mask
    assert rule.causal
    assert rule.keep is None
    assert rule.valid_lens is None


def test_the_ids_are_caught_and_become_texts(tmp_path):
    path, given = tmp_path / "c.safetensors", programs.sentences()
    model = programs.minilm()
    with torch.no_grad(), attn_cli.record(path, tokenizer=programs.minilm_folder() / "tokenizer.json"):
        model(**given)
    call = loaded(path)[0]
    assert torch.equal(call.inputs.token_ids, given["input_ids"])
    assert call.tokens[0][:7] == ("[CLS]", "the", "cat", "sat", "on", "the", "mat")


def train(model, *inputs):
    """One step; the output and every gradient."""
    model.zero_grad()
    output = model(*inputs)
    output.square().sum().backward()
    return [output.detach(), *(p.grad.clone() for p in model.parameters())]


@pytest.mark.parametrize(("make", "calls_a_layer"), [(programs.encoder, 1), (programs.decoder, 2)])
def test_a_training_step_has_the_same_gradients(make, calls_a_layer, tmp_path):
    model = make().train()
    inputs = [torch.randn(2, 6, 32), torch.randn(2, 9, 32)][:calls_a_layer]
    plain = train(model, *inputs)
    recorded, calls = record(tmp_path / "c.safetensors", lambda: train(model, *inputs))
    assert all(torch.equal(a, b) for a, b in zip(plain, recorded, strict=True))
    assert len(calls) == 2 * calls_a_layer
    names = ["self_attn", "multihead_attn"][:calls_a_layer]
    assert {call.prefix for call in calls} == {f"layers.{i}.{name}" for i in range(2) for name in names}


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("padded", [False, True])
def test_pytorchs_fast_path_is_taken_and_heard(padded, tmp_path):
    model, x = programs.encoder().eval(), torch.randn(2, 6, 32)
    hidden = torch.zeros(2, 6, dtype=torch.bool)
    hidden[1, 4:] = padded
    with torch.inference_mode():
        plain = model(x, src_key_padding_mask=hidden if padded else None)
        recorded, calls = record(
            tmp_path / "c.safetensors", lambda: model(x, src_key_padding_mask=hidden if padded else None)
        )
        attention = model.layers[0].self_attn
        assert isinstance(attention, nn.MultiheadAttention)
    assert torch.equal(plain, recorded)
    assert [call.prefix for call in calls] == ["layers.0.self_attn", "layers.1.self_attn"]
    with torch.no_grad():
        _, expected = attention(x, x, x, key_padding_mask=hidden, average_attn_weights=False)
    found = weights_of(calls[0]).float()
    assert_close(found[~hidden[:, None].expand(2, 4, 6)], expected[~hidden[:, None].expand(2, 4, 6)], **CLOSE)


def test_bfloat16_is_stored_as_it_was(tmp_path):
    model = programs.llama().to(torch.bfloat16)
    with torch.no_grad():
        plain = model(**programs.prompts()).logits
        recorded, _ = record(tmp_path / "c.safetensors", lambda: model(**programs.prompts()).logits)
    assert torch.equal(plain, recorded)
    call = loaded(tmp_path / "c.safetensors")[0]
    assert call.inputs.q.dtype == torch.bfloat16
    assert call.recorded.output.dtype == torch.bfloat16


def test_only_what_was_asked_for_is_kept(tmp_path):
    path = tmp_path / "c.safetensors"
    with torch.no_grad(), attn_cli.record(path, layers="encoder.layer.[1-2].*", heads=[1, 3], dtype="float16"):
        programs.bert()(**programs.prompts())
    calls = attn_cli.load(path)
    assert [call.layer for call in calls] == [1, 2]
    inspection = calls[0].inspect()
    assert inspection.index.heads == (1, 3)
    assert inspection.index.total_heads == 4
