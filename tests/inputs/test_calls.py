"""Which calls are found in a file, by name."""

import pytest
import torch

from attn_cli.inputs.options import ReadOptions
from attn_cli.inputs.source import open_calls
from tests.inputs.files import attend, heads, load, load_all, refusal, roles, said, write


def plans_of(path, **options):
    with open_calls(ReadOptions(file=path, **options)) as source:
        return [(plan.prefix, plan.layer) for plan in source.plans]


def renamed(tensors, **names):
    return {names.get(name, name): x for name, x in tensors.items()}


@pytest.mark.parametrize(
    "names",
    [
        {"q": "q", "k": "k", "v": "v"},
        {"q": "Q", "k": "K", "v": "V"},
        {"q": "query", "k": "key", "v": "value"},
        {"q": "Query", "k": "k", "v": "VALUE"},
        {"q": "model.layers.7.attn.q", "k": "model.layers.7.attn.key", "v": "model.layers.7.attn.V"},
    ],
)
def test_projected_heads_are_found_in_any_case(tmp_path, names):
    tensors = heads()
    call = load(write(tmp_path / "x.safetensors", renamed(tensors, **names)))
    assert torch.equal(call.inputs.q, tensors["q"])
    assert torch.equal(call.inputs.k, tensors["k"])
    assert torch.equal(call.inputs.v, tensors["v"])
    assert roles(call) == {name: role for role, name in names.items()}
    assert call.layer == (7 if "7" in names["q"] else None)
    assert call.prefix == names["q"].rpartition(".")[0]


def test_several_calls_come_by_layer_then_prefix(tmp_path):
    tensors = {}
    for prefix in ("b.layers.10.", "a.layers.10.", "b.layers.2.", "encoder."):
        tensors |= heads(prefix=prefix)
    path = write(tmp_path / "x.safetensors", tensors)
    assert plans_of(path) == [("encoder", None), ("b.layers.2", 2), ("a.layers.10", 10), ("b.layers.10", 10)]
    assert plans_of(path, layer=2) == [("b.layers.2", 2)]
    assert plans_of(path, prefix="b") == [("b.layers.2", 2), ("b.layers.10", 10)]
    assert plans_of(path, prefix="B.Layers.2") == [("b.layers.2", 2)]
    assert plans_of(path, prefix="a", layer=10) == [("a.layers.10", 10)]


def test_a_prefix_is_not_matched_in_the_middle_of_a_component(tmp_path):
    path = write(tmp_path / "x.safetensors", heads(prefix="layers.1.") | heads(prefix="layers.10."))
    assert plans_of(path, prefix="layers.1") == [("layers.1", 1)]


def test_a_layer_that_is_several_calls_is_all_of_them_and_one_that_is_none_is_refused_with_a_list(tmp_path):
    tensors = heads(prefix="enc.3.") | heads(prefix="dec.3.") | heads(prefix="dec.5.")
    path = write(tmp_path / "x.safetensors", tensors)
    assert plans_of(path, layer=3) == [("dec.3", 3), ("enc.3", 3)]
    assert "no call in --layer 4; expected one of the layers 3, 5" in refusal(path, layer=4)
    assert "nothing under --prefix mid; expected one of dec.3, dec.5, enc.3" in refusal(path, prefix="mid")


def test_only_the_asked_call_is_read(tmp_path):
    tensors = heads(prefix="layers.0.") | {"layers.1.q": torch.zeros(3, 0), "layers.1.k": torch.zeros(1)}
    path = write(tmp_path / "x.safetensors", tensors | {"layers.1.v": torch.zeros(1)})
    assert load(path, layer=0).layer == 0
    assert "layers.1.q is (3, 0) float32; expected no axis of size 0" in refusal(path, layer=1)


def test_what_is_not_understood_is_unused_and_no_fault(tmp_path):
    tensors = heads(prefix="layers.0.") | {
        "layers.0.attn_ln.weight": torch.ones(3),
        "layers.0.attn_ln.bias": torch.ones(3),
        "layers.1.q": torch.ones(1, 2, 3),
        "epoch": torch.ones(1),
        "x": torch.ones(2, 5, 8),
    }
    call = load(write(tmp_path / "x.safetensors", tensors))
    assert call.prefix == "layers.0"
    assert call.inputs.rules.bias is None
    unused = {"layers.0.attn_ln.weight", "layers.0.attn_ln.bias", "layers.1.q", "epoch", "x"}
    assert {info.name for info in call.unused} == unused


def test_an_incomplete_call_is_refused_where_it_is_meant(tmp_path):
    path = write(tmp_path / "x.safetensors", {"layers.1.q": torch.ones(1, 2, 3), "layers.1.k": torch.ones(1, 2, 3)})
    message = refusal(path)
    assert "layers.1: q and k without v; expected q, k and v" in message
    assert "layers.1.q  (1, 2, 3)  float32" in message
    both = write(tmp_path / "y.safetensors", heads(prefix="layers.0.") | {"layers.1.q": torch.ones(1, 2, 3)})
    assert plans_of(both) == [("layers.0", 0)]
    assert "layers.1: q without k and v" in refusal(both, layer=1)
    assert "layers.1: q without k and v" in refusal(both, prefix="layers.1")


def test_two_names_of_one_role_are_refused(tmp_path):
    tensors = heads() | {"query": torch.ones(2, 4, 5, 8)}
    path = write(tmp_path / "x.safetensors", tensors)
    assert "both q and query could be q" in refusal(path)
    assert load(path, q="q", k="k", v="v").inputs.q.equal(tensors["q"])


def test_a_file_without_a_call_is_refused_with_what_is_in_it(tmp_path):
    path = write(tmp_path / "x.safetensors", {f"w{number:02}": torch.zeros(2, 3) for number in range(30)})
    message = refusal(path)
    assert "none of its 30 tensors is part of an attention call" in message
    assert "w19  (2, 3)  float32" in message
    assert "w20" not in message
    assert "and 10 more" in message


def test_names_given_by_flags_are_taken_exactly_first_then_in_any_case(tmp_path):
    tensors = heads()
    stored = {"a.MyQ": tensors["q"], "a.myq": tensors["q"] + 1, "a.kk": tensors["k"], "a.vv": tensors["v"]}
    path = write(tmp_path / "x.safetensors", stored | {"a.valid_lens": torch.tensor([2, 3])})
    call = load(path, q="a.myq", k="A.KK", v="a.vv")
    assert torch.equal(call.inputs.q, stored["a.myq"])
    assert call.prefix == "a"
    assert call.inputs.rules.mask.valid_lens.tolist() == [2, 3]
    assert "--q a.MYQ could be a.MyQ, a.myq" in refusal(path, q="a.MYQ", k="a.kk", v="a.vv")
    assert "no tensor --k nope; expected the full name" in refusal(path, q="a.MyQ", k="nope", v="a.vv")


def test_roles_that_no_flag_names_are_looked_for_beside_the_named(tmp_path):
    tensors = heads(prefix="layers.2.")
    path = write(tmp_path / "x.safetensors", {**tensors, "layers.2.rotated_q": tensors["layers.2.q"] * 2})
    call = load(path, q="layers.2.rotated_q")
    assert torch.equal(call.inputs.q, tensors["layers.2.q"] * 2)
    assert torch.equal(call.inputs.k, tensors["layers.2.k"])
    assert (call.prefix, call.layer) == ("layers.2", 2)
    lonely = write(tmp_path / "y.safetensors", {"a": torch.zeros(1, 2, 3), "v": torch.zeros(1, 2, 3)})
    assert "no k or key beside the named tensors; expected it, or --k NAME" in refusal(lonely, q="a")


def test_what_stands_without_a_prefix_serves_every_call_that_has_none_of_its_own(tmp_path):
    tensors = heads(prefix="layers.0.") | heads(prefix="layers.1.")
    tensors |= {"valid_lens": torch.tensor([1, 2]), "layers.1.valid_lens": torch.tensor([6, 7])}
    tensors |= {"token_ids": torch.arange(14).reshape(2, 7), "sinks": torch.zeros(4)}
    first, second = load_all(write(tmp_path / "x.safetensors", tensors))
    assert first.inputs.rules.mask.valid_lens.tolist() == [1, 2]
    assert second.inputs.rules.mask.valid_lens.tolist() == [6, 7]
    assert torch.equal(first.inputs.token_ids, tensors["token_ids"])
    assert second.inputs.rules.sinks.shape == (4,)
    assert first.unused == second.unused == ()


def test_projected_heads_win_over_hidden_states_and_it_is_said(tmp_path):
    tensors = heads() | {"hidden_states": torch.ones(2, 5, 32, dtype=torch.float64)}
    tensors |= {f"W_{part}.weight": torch.randn(32, 32, dtype=torch.float64) for part in "qkvo"}
    call = load(write(tmp_path / "x.safetensors", tensors))
    assert torch.equal(call.inputs.q, tensors["q"])
    assert said(call, "inputs") == [("q, k and v are projected already; hidden_states not used", "file")]
    assert torch.equal(call.inputs.output_projection.weight, tensors["W_o.weight"])
    assert attend(call).shape == (2, 5, 32)


def test_hidden_states_without_weights_name_the_way_out(tmp_path):
    path = write(tmp_path / "x.safetensors", {"hidden_states": torch.ones(2, 5, 32)})
    message = refusal(path, num_heads=4)
    assert "x.safetensors: no projection weights for hidden_states" in message
    assert "--weights-file" in message


def test_nothing_to_read_is_a_usage_error(tmp_path):
    assert "no FILE: expected a FILE" in refusal(None)
    assert "no FILE and no --k and no --v" in refusal(None, q=str(tmp_path))
