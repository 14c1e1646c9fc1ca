"""Flags, metadata and defaults: who wins, and what is said about it."""

import pytest
import torch
from torch import nn

from attn_cli.inputs.metadata import Texts
from tests.inputs.files import attend, heads, load, load_all, refusal, said, tokens_json, write


def test_flags_win_over_metadata_and_metadata_over_defaults(tmp_path):
    metadata = {
        "scale": "0.25",
        "softcap": "30",
        "mask_value": "-1e6",
        "causal": "true",
        "causal_align": "top-left",
        "window": "2,1",
    }
    path = write(tmp_path / "x.safetensors", heads(), metadata)
    rules = load(path).inputs.rules
    assert (rules.scale, rules.softcap, rules.mask.value) == (0.25, 30.0, -1e6)
    assert (rules.mask.causal, rules.mask.window, rules.mask.places.tolist()) == (True, (2, 1), [0, 1, 2, 3, 4])
    call = load(path)
    assert [(one.name, one.value, one.origin) for one in call.conventions] == [
        ("layout", "(B, H, S, D)", "default"),
        ("scale", "0.25", "metadata"),
        ("softcap", "30", "metadata"),
        ("causal", "a query sees the keys up to its own place", "metadata"),
        ("alignment", "top-left", "metadata"),
        ("window", "keys: 2 to the left, 1 to the right", "metadata"),
        ("mask value", "-1e+06", "metadata"),
    ]
    flags = {"scale": 0.0, "softcap": 5.0, "mask_value": -2.0, "causal": False, "causal_align": 1, "window": (-1, 0)}
    call = load(path, **flags)
    rules = call.inputs.rules
    assert (rules.scale, rules.softcap, rules.mask.value) == (0.0, 5.0, -2.0)
    assert (rules.mask.causal, rules.mask.window, rules.mask.places.tolist()) == (False, (-1, 0), [1, 2, 3, 4, 5])
    assert said(call, "scale") == [("0", "--scale")]
    assert said(call, "window") == [("keys: all to the left, 0 to the right", "--window")]
    assert (call.align, said(call, "alignment")) == ("offset 1", [("offset 1", "--causal-align")])
    bare = load(write(tmp_path / "y.safetensors", heads())).inputs.rules
    assert (bare.scale, bare.softcap, bare.mask.value, bare.mask.causal, bare.mask.window) == (None,) * 3 + (
        False,
        None,
    )


def test_metadata_of_the_prefix_wins_over_that_of_the_file(tmp_path):
    tensors = heads(prefix="layers.0.") | heads(prefix="layers.1.")
    metadata = {"scale": "0.5", "layers.1.scale": "0.125", "layers.softcap": "7"}
    first, second = load_all(write(tmp_path / "x.safetensors", tensors, metadata))
    assert (first.inputs.scale, second.inputs.scale) == (0.5, 0.125)
    assert first.inputs.rules.softcap == second.inputs.rules.softcap == 7
    assert Texts("f", metadata).of("layers.1").find("scale") == ("layers.1.scale", "0.125")


def test_the_nearest_text_is_found_whatever_was_asked_before():
    texts = Texts("f", {"a": "0", ".b": "1", "x.a": "2", "x.y.b": "3", "x.y.z.w.c": "4"})
    wanted = {
        ("", "a"): "a", ("", "b"): None, ("x", "a"): "x.a", ("x.y", "a"): "x.a", ("x.y.z", "b"): "x.y.b",
        ("x.y.z.w.v", "c"): "x.y.z.w.c", ("x.y.z.w", "a"): "x.a", ("x.yy", "b"): None, ("xx", "a"): "a",
        ("x.y.z", "c"): None, ("x", "d"): None,
    }  # fmt: skip
    for pairs in (wanted, reversed(wanted)):
        for prefix, key in pairs:
            found = texts.of(prefix).find(key)
            assert found == (None if wanted[prefix, key] is None else (wanted[prefix, key], texts.values[found[0]]))
    deep = ".".join("a" * 3000)
    assert Texts("f", {f"{deep[:end]}.k": "" for end in range(1, len(deep), 2)} | {"s": "1"}).of(deep).find("s")


@pytest.mark.parametrize(
    ("options", "metadata", "value", "origin"),
    [
        ({}, {}, "0.3536 = 1/√8", "default"),
        ({}, {"scale": "0.35355339059327373"}, "0.3536 = 1/√8", "metadata"),
        ({"scale": 8**-0.5}, {}, "0.3536 = 1/√8", "--scale"),
        ({"scale": -1.5}, {"scale": "2"}, "-1.5", "--scale"),
    ],
)
def test_the_scale_is_said_with_its_meaning(tmp_path, options, metadata, value, origin):
    call = load(write(tmp_path / "x.safetensors", heads(), metadata), **options)
    assert said(call, "scale") == [(value, origin)]


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("scale", "fast"),
        ("scale", "nan"),
        ("scale", "inf"),
        ("softcap", "0"),
        ("softcap", "-1"),
        ("mask_value", "nan"),
        ("causal", "perhaps"),
        ("causal_align", "left"),
        ("window", "1,2,3"),
        ("window", "-2,1"),
        ("window", ""),
        ("layout", "contiguous"),
        ("num_heads", "0"),
        ("num_heads", "two"),
        ("num_kv_heads", "1.5"),
        ("causal_align", "9" * 5000),
        ("num_heads", "\x1b[31m"),
    ],
)
def test_metadata_that_cannot_be_meant_is_refused_with_the_flag_that_overrides_it(tmp_path, key, text):
    path = write(tmp_path / "x.safetensors", heads(), {key: text})
    message = refusal(path)
    assert f"{path}: metadata {key} is " in message
    assert message.endswith(f"--{key.replace('_', '-')} overrides it")
    assert "\x1b" not in message


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("scale", float("nan"), "--scale nan: expected a finite number"),
        ("scale", float("inf"), "--scale inf"),
        ("softcap", 0.0, "--softcap 0.0: expected a finite number above 0"),
        ("mask_value", float("nan"), "--mask-value nan"),
        ("mask_value", float("inf"), "--mask-value inf"),
        ("window", (-2, 0), "--window (-2, 0): expected LEFT or LEFT,RIGHT"),
        ("num_heads", 0, "--num-heads 0: expected a whole number from 1"),
        ("layout", "sbhd", "--layout sbhd: expected bhsd or bshd"),
        ("mask_polarity", "maybe", "--mask-polarity maybe: expected keep or drop"),
        ("causal_align", "middle", "--causal-align middle: expected bottom-right, top-left or a whole number"),
    ],
)
def test_flags_that_cannot_be_meant_are_refused(tmp_path, option, value, message):
    assert message in refusal(write(tmp_path / "x.safetensors", heads()), **{option: value})


def test_a_mask_value_of_minus_infinity_is_the_default(tmp_path):
    assert load(write(tmp_path / "x.safetensors", heads()), mask_value=float("-inf")).inputs.rules.mask.value is None


def test_scale_softcap_and_causal_order_are_torch_s(tmp_path):
    tensors = heads(queries=7, keys=7)
    path = write(tmp_path / "x.safetensors", tensors, {"causal": "True"})
    wanted = nn.functional.scaled_dot_product_attention(*tensors.values(), is_causal=True, scale=0.7)
    torch.testing.assert_close(attend(load(path, scale=0.7)), wanted, atol=1e-12, rtol=0)


@pytest.mark.parametrize(
    ("sizes", "options", "metadata", "chosen", "places"),
    [
        ({}, {"causal": True}, {}, False, [2, 3, 4, 5, 6]),
        ({}, {"window": (1, 1)}, {}, False, [2, 3, 4, 5, 6]),
        ({}, {"causal": True, "causal_align": "bottom-right"}, {}, True, [2, 3, 4, 5, 6]),
        ({}, {"causal": True, "causal_align": "top-left"}, {}, True, [0, 1, 2, 3, 4]),
        ({}, {"causal": True}, {"causal_align": "-1"}, True, [-1, 0, 1, 2, 3]),
        ({}, {}, {}, True, [2, 3, 4, 5, 6]),
        ({"queries": 7}, {"causal": True}, {}, True, list(range(7))),
    ],
)
def test_an_alignment_that_nobody_chose_is_marked_where_it_matters(tmp_path, sizes, options, metadata, chosen, places):
    call = load(write(tmp_path / "x.safetensors", heads(**sizes), metadata), **options)
    assert call.align_chosen is chosen
    assert call.inputs.rules.mask.places.tolist() == places


def test_tokens_label_the_keys(tmp_path):
    path = write(tmp_path / "x.safetensors", heads(), {"tokens": tokens_json(2, 7)})
    call = load(path)
    assert (call.tokens[0][0], call.tokens[1][6], len(call.tokens)) == ("t0.0", "t1.6", 2)
    one = write(tmp_path / "y.safetensors", heads(batch=1, keys=2), {"tokens": '["a", "b"]'})
    assert load(one).tokens == (("a", "b"),)


@pytest.mark.parametrize(
    "text", ["5000", "[", '["a"]', '[["a", "b"]]', '[["a", 1], ["b", "c"]]', "[" * 100_000, "null"]
)
def test_tokens_that_do_not_fit_are_left_out_and_it_is_said(tmp_path, text):
    call = load(write(tmp_path / "x.safetensors", heads(keys=2), {"tokens": text}))
    assert call.tokens is None
    assert said(call, "tokens") == [("not used: they are not 2 lists of 2 texts", "metadata")]


def test_the_selection_is_kept_and_not_applied(tmp_path):
    call = load(write(tmp_path / "x.safetensors", heads()), batch=(1,), heads=(3, 0), queries=(4,))
    assert (call.selection.batch, call.selection.heads, call.selection.queries) == ((1,), (3, 0), (4,))
    assert call.inputs.q.shape == (2, 4, 5, 8)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch": (0, 2)}, "--batch 2; expected 0 to 1, of 2 batch items"),
        ({"heads": (4,)}, "--head 4; expected 0 to 3, of 4 query heads"),
        ({"queries": (5,)}, "--query 5; expected 0 to 4, of 5 query rows"),
        ({"queries": (-1,)}, "--query -1; expected 0 to 4"),
        ({"heads": ()}, "--head selects nothing; expected 0 to 3"),
    ],
)
def test_a_selection_outside_the_call_is_refused_with_its_range(tmp_path, options, message):
    path = write(tmp_path / "x.safetensors", heads())
    assert f"{path}: {message}" in refusal(path, **options)
    tensors = {"x": torch.ones(2, 5, 8)} | {f"W_{part}.weight": torch.ones(8, 8) for part in "qkvo"}
    module = write(tmp_path / "m.safetensors", tensors)
    assert f"{module}: {message}" in refusal(module, num_heads=4, **options)
