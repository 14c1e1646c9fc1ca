"""Every style of projection weights, against the modules that the styles come from."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from attn_cli.inputs.projections import find_projections
from tests.inputs.files import attend, heads, load, load_all, refusal, roles, said, write

E, HEADS, BATCH, SEQ = 16, 4, 2, 6


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def mha(seed=0, **options):
    torch.manual_seed(seed)
    module = nn.MultiheadAttention(E, HEADS, batch_first=True, dtype=torch.float64, **options).eval()
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.5)  # so that the biases count
    return module


def linear_weights(module):
    """The projections of an nn.MultiheadAttention as weight and bias of q, k, v and o."""
    weights = dict(zip("qkv", module.in_proj_weight.detach().chunk(3), strict=True)) | {
        "o": module.out_proj.weight.detach()
    }
    biases = dict(zip("qkv", module.in_proj_bias.detach().chunk(3), strict=True)) | {"o": module.out_proj.bias.detach()}
    return weights, biases


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("prefix", ["", "encoder.layers.0.self_attn."])
def test_the_state_of_torch_s_own_module_gives_its_own_output(tmp_path, bias, prefix):
    module, x = mha(bias=bias), normal(BATCH, SEQ, E)
    wanted, weights = module(x, x, x, average_attn_weights=False)
    state = {f"{prefix}{name}": p for name, p in module.state_dict().items()}
    call = load(write(tmp_path / "x.safetensors", {f"{prefix}hidden_states": x, **state}), num_heads=HEADS)
    torch.testing.assert_close(attend(call), wanted.detach(), atol=1e-12, rtol=0)
    assert weights.shape == (BATCH, HEADS, SEQ, SEQ)
    assert said(call, "layout") == [("(B, S, features) projected to 4 heads", "--num-heads")]
    assert call.unused == ()


def test_torch_s_module_with_other_sizes_for_keys_and_values(tmp_path):
    module = mha(kdim=10, vdim=12)
    queries, keys, values = normal(BATCH, 3, E), normal(BATCH, SEQ, 10, seed=1), normal(BATCH, SEQ, 12, seed=2)
    wanted, _ = module(queries, keys, values)
    path = write(
        tmp_path / "x.safetensors", {"queries": queries, "keys": keys, "values": values, **module.state_dict()}
    )
    call = load(path, num_heads=HEADS)
    torch.testing.assert_close(attend(call), wanted.detach(), atol=1e-12, rtol=0)
    assert roles(call)["k_proj_weight"] == "W_k.weight"


def test_torch_s_extra_key_and_value_are_refused(tmp_path):
    path = write(tmp_path / "x.safetensors", {"x": normal(BATCH, SEQ, E), **mha(add_bias_kv=True).state_dict()})
    assert "in_proj_weight cannot be used: bias_k and bias_v add" in refusal(path, num_heads=HEADS)


SEPARATE = {
    "own": ("W_q", "W_k", "W_v", "W_o"),
    "any case": ("w_Q", "W_K", "w_v", "W_O"),
    "llama": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj"),
    "opt": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj"),
    "distilbert": ("attention.q_lin", "attention.k_lin", "attention.v_lin", "attention.out_lin"),
    "diffusers": ("attn1.to_q", "attn1.to_k", "attn1.to_v", "attn1.to_out.0"),
    "bert": ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"),
    "vit": (
        "attention.attention.query",
        "attention.attention.key",
        "attention.attention.value",
        "attention.output.dense",
    ),
    "plain": ("query", "key", "value", "output.dense"),
}


@pytest.mark.parametrize("names", SEPARATE.values(), ids=SEPARATE.keys())
@pytest.mark.parametrize("where", ["same file", "weights file"])
def test_separate_projections_by_every_name(tmp_path, names, where):
    module, x = mha(), normal(BATCH, SEQ, E)
    wanted, _ = module(x, x, x)
    weights, biases = linear_weights(module)
    state = {f"encoder.layer.3.{name}.weight": weights[part] for part, name in zip("qkvo", names, strict=True)}
    state |= {f"encoder.layer.3.{name}.bias": biases[part] for part, name in zip("qkvo", names, strict=True)}
    other = {"encoder.layer.3.norm.weight": torch.ones(E), "encoder.layer.3.norm.bias": torch.ones(E)}
    if where == "same file":
        call = load(write(tmp_path / "x.safetensors", {"hidden_states": x, **state, **other}), num_heads=HEADS)
    else:
        file = write(tmp_path / "x.safetensors", {"layers.3.hidden_states": x})
        call = load(file, weights_file=write(tmp_path / "w.safetensors", state | other), num_heads=HEADS)
    torch.testing.assert_close(attend(call), wanted.detach(), atol=1e-12, rtol=0)
    assert call.layer == 3
    assert roles(call)[f"encoder.layer.3.{names[3]}.bias"] == "W_o.bias"


@pytest.mark.parametrize(
    ("fused", "output"), [("qkv", "proj"), ("attn.qkv_proj", "attn.o_proj"), ("attn.Wqkv", "attn.out_proj")]
)
def test_fused_projections_are_rows_of_q_then_k_then_v(tmp_path, fused, output):
    module, x = mha(), normal(BATCH, SEQ, E)
    wanted, _ = module(x, x, x)
    state = module.state_dict()
    tensors = {
        "hidden_states": x,
        f"{fused}.weight": state["in_proj_weight"],
        f"{fused}.bias": state["in_proj_bias"],
        f"{output}.weight": state["out_proj.weight"],
        f"{output}.bias": state["out_proj.bias"],
    }
    call = load(write(tmp_path / "x.safetensors", tensors), num_heads=HEADS)
    torch.testing.assert_close(attend(call), wanted.detach(), atol=1e-12, rtol=0)
    assert roles(call)[f"{fused}.weight"] == "W_q, W_k, W_v.weight"
    assert said(call, "projections")[0][0].endswith("rows of q, then k, then v")


def test_fused_grouped_queries_need_the_number_of_key_value_heads(tmp_path):
    x, weight, output = normal(BATCH, SEQ, E), normal(E + 2 * 8, E, seed=1), normal(E, E, seed=2)
    path = write(tmp_path / "x.safetensors", {"x": x, "qkv_proj.weight": weight, "o_proj.weight": output})
    call = load(path, num_heads=HEADS, num_kv_heads=2)
    q, k, v = (x @ weight.T).split([16, 8, 8], dim=-1)
    q, k, v = (part.unflatten(-1, (-1, 4)).transpose(1, 2) for part in (q, k, v))
    mixed = nn.functional.scaled_dot_product_attention(q, k, v, enable_gqa=True)
    torch.testing.assert_close(attend(call), mixed.transpose(1, 2).flatten(2) @ output.T, atol=1e-12, rtol=0)
    assert said(call, "heads") == [("4 query heads share 2 key/value heads", "--num-kv-heads")]
    assert "qkv_proj.weight is (32, 16) float64: 32 output features; expected a multiple of 12" in refusal(
        path, num_heads=HEADS
    )


def test_fused_rows_that_w_o_contradicts_are_refused(tmp_path):
    tensors = {"x": normal(1, 3, 8), "qkv.weight": normal(24, 8), "proj.weight": normal(8, 16)}
    message = refusal(write(tmp_path / "x.safetensors", tensors), num_heads=2)
    assert "proj.weight is (8, 16) float64: 16 input features; expected 8, 2 heads of 4" in message


def test_interleaved_rows_are_refused_rather_than_misread(tmp_path):
    tensors = {"x": normal(1, 3, 8), "attention.query_key_value.weight": normal(24, 8)}
    message = refusal(write(tmp_path / "x.safetensors", tensors), num_heads=2)
    assert "attention.query_key_value.weight cannot be used: its rows are interleaved" in message


def gpt2_by_hand(x, state, num_heads):
    """GPT-2's attention from its Conv1D weights in NumPy: y = x · W + b, W (in, out)."""
    x, state = x.numpy(), {name: tensor.numpy() for name, tensor in state.items()}
    batch, length, features = x.shape
    qkv = x @ state["c_attn.weight"] + state["c_attn.bias"]
    q, k, v = (part.reshape(batch, length, num_heads, -1).transpose(0, 2, 1, 3) for part in np.split(qkv, 3, axis=-1))
    logits = q @ k.swapaxes(-1, -2) / np.sqrt(features // num_heads)
    logits = np.where(np.tril(np.ones((length, length), bool)), logits, -np.inf)
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    mixed = (weights / weights.sum(-1, keepdims=True)) @ v
    return mixed.transpose(0, 2, 1, 3).reshape(batch, length, features) @ state["c_proj.weight"] + state["c_proj.bias"]


def gpt2_state():
    return {
        "c_attn.weight": normal(E, 3 * E, seed=1),
        "c_attn.bias": normal(3 * E, seed=2),
        "c_proj.weight": normal(E, E, seed=3),
        "c_proj.bias": normal(E, seed=4),
    }


def test_gpt2_s_transposed_weights_beside_its_causal_buffer_and_its_feed_forward(tmp_path):
    x, state = normal(BATCH, SEQ, E), gpt2_state()
    stored = {f"h.5.attn.{name}": tensor for name, tensor in state.items()}
    stored |= {"h.5.hidden_states": x, "h.5.attn.bias": torch.ones(1, 1, 64, 64).tril()}
    stored |= {"h.5.mlp.c_fc.weight": normal(E, 4 * E), "h.5.mlp.c_proj.weight": normal(4 * E, E)}
    call = load(write(tmp_path / "x.safetensors", stored), num_heads=HEADS, causal=True)
    np.testing.assert_allclose(attend(call).numpy(), gpt2_by_hand(x, state, HEADS), atol=1e-12)
    assert {info.name for info in call.unused} == {"h.5.attn.bias", "h.5.mlp.c_fc.weight", "h.5.mlp.c_proj.weight"}


def test_a_c_attn_that_is_an_ordinary_linear_layer_is_seen_by_its_shape(tmp_path):
    x, state = normal(BATCH, SEQ, E), gpt2_state()
    stored = {name: tensor.T.contiguous() if tensor.dim() == 2 else tensor for name, tensor in state.items()}
    call = load(write(tmp_path / "x.safetensors", {"x": x, **stored}), num_heads=HEADS, causal=True)
    np.testing.assert_allclose(attend(call).numpy(), gpt2_by_hand(x, state, HEADS), atol=1e-12)


def bert_names():
    layer = "bert.encoder.layer.3."
    names = [f"{layer}attention.self.{part}" for part in ("query", "key", "value")]
    return [*names, f"{layer}attention.output.dense", f"{layer}intermediate.dense", f"{layer}output.dense"]


def test_bert_s_feed_forward_is_never_the_output_projection():
    names = [f"{name}.weight" for name in bert_names()]
    (found,) = find_projections(names)
    assert found.root == "bert.encoder.layer.3.attention"
    assert found.o.weight == "bert.encoder.layer.3.attention.output.dense.weight"
    without_own = [name for name in names if "attention.output" not in name]
    assert [layers.o for layers in find_projections(without_own)] == [None]
    lone = find_projections(["encoder.layer.3.output.dense.weight", "encoder.layer.3.q", "encoder.layer.3.k"])
    assert lone == ()


@pytest.mark.parametrize("prefix", ["bert.encoder.layer.3", "bert.encoder.layer.3.attention", "BERT.encoder.layer.3"])
def test_a_prefix_may_end_above_bert_s_layers(tmp_path, prefix):
    state = {f"{name}.weight": normal(E, E, seed=seed) for seed, name in enumerate(bert_names()[:4])}
    others = {name.replace("layer.3", "layer.4"): tensor + 1 for name, tensor in state.items()}
    file = write(tmp_path / "x.safetensors", {"hidden_states": normal(BATCH, SEQ, E)})
    weights = write(tmp_path / "w.safetensors", state | others)
    call = load(file, weights_file=weights, prefix=prefix, num_heads=HEADS)
    assert torch.equal(call.inputs.W_q.weight, state["bert.encoder.layer.3.attention.self.query.weight"])
    assert torch.equal(call.inputs.W_o.weight, state["bert.encoder.layer.3.attention.output.dense.weight"])
    by_layer = load(file, weights_file=weights, layer=4, num_heads=HEADS)
    assert torch.equal(by_layer.inputs.W_q.weight, others["bert.encoder.layer.4.attention.self.query.weight"])
    assert by_layer.layer == 4
    message = refusal(file, weights_file=weights, num_heads=HEADS)
    assert "w.safetensors: holds several sets of projection weights for the call" in message
    assert "bert.encoder.layer.3.attention (query, key, value), bert.encoder.layer.4.attention" in message
    nowhere = refusal(file, weights_file=weights, prefix="gpt", num_heads=HEADS)
    assert "nothing under --prefix gpt; expected one of (no prefix), or one of the weights in" in nowhere
    assert "bert.encoder.layer.4.attention (query, key, value)" in nowhere


def own(prefix, seed=0, parts="qkvo"):
    return {f"{prefix}W_{part}.weight": normal(E, E, seed=seed + place) for place, part in enumerate(parts)}


def test_weights_are_found_by_prefix_then_number_then_alone(tmp_path):
    x = normal(BATCH, SEQ, E)
    file = write(tmp_path / "x.safetensors", {"layers.3.hidden_in": x})
    state = own("layers.3.", seed=10) | own("other.3.", seed=20) | own("layers.4.", seed=30)
    same = load(file, weights_file=write(tmp_path / "a.safetensors", state), num_heads=HEADS)
    assert torch.equal(same.inputs.W_q.weight, state["layers.3.W_q.weight"])
    state = own("h.3.", seed=10) | own("h.4.", seed=20)
    number = load(file, weights_file=write(tmp_path / "b.safetensors", state), num_heads=HEADS)
    assert torch.equal(number.inputs.W_q.weight, state["h.3.W_q.weight"])
    for prefix in ("", "attention."):
        state = own(prefix, seed=40)
        only = load(file, weights_file=write(tmp_path / "c.safetensors", state), num_heads=HEADS)
        assert torch.equal(only.inputs.W_q.weight, state[f"{prefix}W_q.weight"])


def test_another_layer_s_weights_are_never_taken(tmp_path):
    tensors = {"layers.0.hidden_in": normal(BATCH, SEQ, E), "layers.3.hidden_in": normal(BATCH, SEQ, E)}
    file = write(tmp_path / "x.safetensors", tensors)
    weights = write(tmp_path / "w.safetensors", own("layers.3."))
    assert load(file, weights_file=weights, layer=3, num_heads=HEADS).layer == 3
    message = refusal(file, weights_file=weights, num_heads=HEADS)
    assert "w.safetensors: no projection weights for layers.0.hidden_in" in message
    assert "there are weights for --layer 3" in message


def test_missing_parts_of_the_weights_are_named(tmp_path):
    tensors = {"x": normal(1, 3, E)} | own("", parts="qk")
    message = refusal(write(tmp_path / "x.safetensors", tensors), num_heads=HEADS)
    assert "(no prefix) (W_q, W_k, W_v without W_v)" in message


def test_hidden_states_of_a_whole_model_are_a_call_for_each_layer(tmp_path):
    x = normal(BATCH, SEQ, E)
    tensors = {"hidden_states": x} | own("layers.0.") | own("layers.1.", seed=10)
    calls = load_all(write(tmp_path / "x.safetensors", tensors), num_heads=HEADS)
    assert [(call.prefix, call.layer) for call in calls] == [("layers.0", 0), ("layers.1", 1)]
    assert torch.equal(calls[1].inputs.W_q.weight, tensors["layers.1.W_q.weight"])


def test_self_and_cross_attention_of_one_layer_need_a_prefix(tmp_path):
    tensors = (
        {"layers.0.hidden_states": normal(BATCH, SEQ, E)} | own("layers.0.self_attn.") | own("layers.0.cross.", seed=9)
    )
    path = write(tmp_path / "x.safetensors", tensors)
    assert "layers.0.cross (W_q, W_k, W_v), layers.0.self_attn (W_q, W_k, W_v); expected one" in refusal(
        path, num_heads=HEADS
    )
    call = load(path, num_heads=HEADS, prefix="layers.0.self_attn")
    assert torch.equal(call.inputs.W_q.weight, tensors["layers.0.self_attn.W_q.weight"])


@pytest.mark.parametrize("name", ["W_o", "o_proj", "out_proj", "attn.out_proj"])
def test_projected_heads_with_the_output_projection_alone(tmp_path, name):
    tensors = heads(features=4, prefix="layers.3.")
    projection = nn.Linear(E, 10, dtype=torch.float64)
    tensors |= {
        f"layers.3.{name}.weight": projection.weight.detach(),
        f"layers.3.{name}.bias": projection.bias.detach(),
    }
    call = load(write(tmp_path / "x.safetensors", tensors))
    q, k, v = (tensors[f"layers.3.{part}"] for part in "qkv")
    mixed = nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
    torch.testing.assert_close(attend(call), projection(mixed).detach(), atol=1e-12, rtol=0)
    assert roles(call)[f"layers.3.{name}.weight"] == "W_o.weight"


def test_projected_heads_take_only_w_o_from_a_whole_set(tmp_path):
    tensors = heads(features=4) | own("")
    call = load(write(tmp_path / "x.safetensors", tensors))
    assert torch.equal(call.inputs.output_projection.weight, tensors["W_o.weight"])
    assert "W_q.weight" not in roles(call)
    assert said(call, "inputs") == [("q, k and v are projected already", "file")]


def test_a_weights_file_that_serves_no_call_is_refused(tmp_path):
    file = write(tmp_path / "x.safetensors", heads(prefix="layers.0."))
    weights = write(tmp_path / "w.safetensors", own("layers.5."))
    assert "w.safetensors: no projection weights for layers.0.q" in refusal(file, weights_file=weights)
    path = write(tmp_path / "v.safetensors", {"a": torch.zeros(1)})
    assert "expected W_q.weight, W_k.weight and W_v.weight" in refusal(file, weights_file=path)


def test_grouped_queries_show_in_the_size_of_w_k(tmp_path):
    tensors = {"x": normal(1, 3, E)} | own("", parts="qo") | {f"W_{part}.weight": normal(8, E) for part in "kv"}
    call = load(write(tmp_path / "x.safetensors", tensors), num_heads=HEADS)
    assert call.inputs.num_kv_heads == 2
    assert said(call, "heads") == [("4 query heads share 2 key/value heads", "file")]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"W_q.weight": (E, 12)}, "W_q.weight is (16, 12) float64: 12 input features; expected 16"),
        ({"W_q.weight": (18, E)}, "W_q.weight is (18, 16) float64: 18 output features; expected a multiple of 4"),
        ({"W_q.weight": (E,)}, "W_q.weight is (16,) float64; expected (out_features, in_features)"),
        (
            {"W_k.weight": (12, E)},
            "W_k.weight is (12, 16) float64: head dimension 3; expected 4, as W_q.weight is (16, 16)",
        ),
        ({"W_v.bias": (3,)}, "W_v.weight is (16, 16) float64 with a bias of shape (3,); expected (16,)"),
        ({"W_o.weight": (E, 20)}, "W_o.weight is (16, 20) float64: 20 input features; expected 16, 4 heads of 4"),
    ],
)
def test_weights_that_do_not_fit_are_refused(tmp_path, change, message):
    tensors = {"x": normal(1, 3, E)} | own("") | {name: normal(*shape) for name, shape in change.items()}
    assert message in refusal(write(tmp_path / "x.safetensors", tensors), num_heads=HEADS, num_kv_heads=HEADS)


def test_the_number_of_heads_must_be_known_and_may_stand_in_either_file(tmp_path):
    file = write(tmp_path / "x.safetensors", {"x": normal(1, 3, E)})
    bare = write(tmp_path / "w.safetensors", own(""))
    assert "x is to be projected, and nothing says to how many heads; expected --num-heads" in refusal(
        file, weights_file=bare
    )
    said_so = write(tmp_path / "m.safetensors", own(""), {"num_heads": "8", "layout": "anything at all"})
    call = load(file, weights_file=said_so)
    assert (call.inputs.num_heads, said(call, "layout")[0][1]) == (8, "metadata")


def test_quantized_float8_weights_are_refused(tmp_path):
    tensors = {"x": normal(1, 3, E)} | own("")
    tensors["W_q.weight"] = tensors["W_q.weight"].to(torch.float8_e4m3fn)
    plain = load(write(tmp_path / "a.safetensors", tensors), num_heads=HEADS)
    placed = plain.inputs.to(torch.device("cpu"), plain.inputs.dtype)
    assert torch.equal(placed.W_q.weight, tensors["W_q.weight"].to(torch.float64))
    tensors["W_q.weight_scale_inv"] = torch.ones(1)
    assert "W_q.weight is quantized, with W_q.weight_scale_inv" in refusal(
        write(tmp_path / "b.safetensors", tensors), num_heads=HEADS
    )


def test_weights_in_a_sharded_checkpoint(tmp_path):
    state = own("model.layers.3.self_attn.")
    names = list(state)
    for number, part in enumerate((names[:2], names[2:])):
        write(tmp_path / f"{number}.safetensors", {name: state[name] for name in part})
    index = {name: f"{int(name in names[2:])}.safetensors" for name in names} | {"lm_head.weight": "gone.safetensors"}
    (tmp_path / "m.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    file = write(tmp_path / "x.safetensors", {"hidden_states": normal(1, 3, E)})
    call = load(
        file,
        weights_file=str(tmp_path / "m.safetensors.index.json"),
        prefix="model.layers.3.self_attn",
        num_heads=HEADS,
    )
    assert torch.equal(call.inputs.W_v.weight, state["model.layers.3.self_attn.W_v.weight"])
    assert call.layer == 3


def test_names_are_looked_through_once_for_the_scales_of_all_weights():
    names = [f"low_scale.{layer}.{part}_proj.weight" for layer in range(3) for part in "qkv"]
    found = find_projections([*names, "LOW_scale.1.K_proj.weight_scale_inv", "low_scale.2.v_proj.weight_scale"])
    assert len({id(layers.scales) for layers in found}) == 1
    assert [found[0].scales.get(name) for name in names] == [None] * 4 + [
        "LOW_scale.1.K_proj.weight_scale_inv", None, None, None, "low_scale.2.v_proj.weight_scale",
    ]  # fmt: skip
