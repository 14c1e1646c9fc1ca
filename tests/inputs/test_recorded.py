"""What a file says came out of a call is read beside it, and decides nothing."""

import pytest
import torch
from safetensors.torch import save_file

from attn_cli.inputs.options import ReadOptions
from attn_cli.inputs.source import open_calls
from attn_cli.inputs.types import Convention

B, H, SQ, SK, D, DV = 2, 3, 4, 5, 8, 6
HEADS = {"q": torch.randn(B, H, SQ, D), "k": torch.randn(B, H, SK, D), "v": torch.randn(B, H, SK, DV)}
OUTPUT, WEIGHTS = torch.randn(B, H, SQ, DV), torch.rand(B, H, SQ, SK)


def load(tmp_path, tensors, **options):
    path = str(tmp_path / "call.safetensors")
    save_file({name: x.clone(memory_format=torch.contiguous_format) for name, x in tensors.items()}, path)
    with open_calls(ReadOptions(file=path, **options)) as source:
        return source.plans[0].load()


@pytest.mark.parametrize("names", [("output", "weights"), ("context", "attn_probs"), ("attn_output", "attn_weights")])
def test_output_and_weights_are_read_by_their_usual_names(tmp_path, names):
    call = load(tmp_path, {**HEADS, names[0]: OUTPUT, names[1]: WEIGHTS})
    assert torch.equal(call.recorded.output, OUTPUT)
    assert torch.equal(call.recorded.weights, WEIGHTS)
    roles = {info.name: info.role for info in call.tensors}
    assert (roles[names[0]], roles[names[1]]) == ("output", "weights")
    assert call.unused == ()


def test_eight_bits_are_read_as_they_are(tmp_path):
    stored = OUTPUT.transpose(1, 2).to(torch.float8_e4m3fn), WEIGHTS.to(torch.float8_e5m2)
    recorded = load(tmp_path, {**HEADS, "output": stored[0], "weights": stored[1]}).recorded
    assert torch.equal(recorded.output.float(), stored[0].float().transpose(1, 2))
    assert torch.equal(recorded.weights.float(), stored[1].float())


def test_the_output_has_the_layout_of_q(tmp_path):
    turned = {name: x.transpose(1, 2) for name, x in {**HEADS, "output": OUTPUT}.items()}
    assert torch.equal(load(tmp_path, turned, layout="bshd").recorded.output, OUTPUT)
    flat = {name: x.flatten(2) for name, x in turned.items()}
    assert torch.equal(load(tmp_path, flat, num_heads=H, num_kv_heads=H).recorded.output, OUTPUT)
    one = {name: x[0] for name, x in {**HEADS, "output": OUTPUT, "weights": WEIGHTS}.items()}
    call = load(tmp_path, one)
    assert torch.equal(call.recorded.output, OUTPUT[:1])
    assert torch.equal(call.recorded.weights, WEIGHTS[:1])


@pytest.mark.parametrize(
    "other", [OUTPUT[..., :-1], OUTPUT[0], OUTPUT.transpose(1, 2).flatten(2)[..., :-1], (OUTPUT > 0).to(torch.int32)]
)
def test_what_does_not_fit_has_no_role(tmp_path, other):
    call = load(tmp_path, {**HEADS, "output": other})
    assert call.recorded.output is None
    assert [info.role for info in call.tensors if info.name == "output"] == [None]


@pytest.mark.parametrize(("form", "text"), [("turned", "(B, S, H, D)"), ("flat", "(B, S, H·D), cut into 3 heads")])
def test_an_output_in_another_layout_is_read_where_that_alone_fits(tmp_path, form, text):
    """What Hugging Face's attention functions return, and what goes into their output projection."""
    other = OUTPUT.transpose(1, 2) if form == "turned" else OUTPUT.transpose(1, 2).flatten(2)
    call = load(tmp_path, {**HEADS, "output": other})
    assert torch.equal(call.recorded.output, OUTPUT)
    assert Convention("output", text, "file") in call.conventions
    one = load(tmp_path, {name: x[:1] for name, x in {**HEADS, "output": other}.items()})
    assert torch.equal(one.recorded.output, OUTPUT[:1])


def test_what_may_have_come_out_of_the_output_projection_is_left_alone(tmp_path):
    tensors = {**HEADS, "o_proj.weight": torch.randn(H * DV, H * DV), "output": OUTPUT.transpose(1, 2).flatten(2)}
    assert load(tmp_path, tensors).recorded.output is None
    tensors["output"] = OUTPUT.transpose(1, 2)
    assert torch.equal(load(tmp_path, tensors).recorded.output, OUTPUT)


def test_a_layer_has_its_own_results_and_no_other(tmp_path):
    layers = {f"layers.{layer}.{name}": x for layer in (0, 1) for name, x in HEADS.items()}
    tensors = {**layers, "layers.1.output": OUTPUT, "output": OUTPUT + 1}
    assert load(tmp_path, tensors, layer=0).recorded.output is None
    assert torch.equal(load(tmp_path, tensors, layer=1).recorded.output, OUTPUT)
