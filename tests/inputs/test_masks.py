"""Masks, biases, valid lengths and sinks out of files."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from attn_cli.errors import InputError
from attn_cli.inputs.masking import four_axes
from attn_cli.inputs.types import TensorInfo
from attn_cli.inputs.validation import CallSizes
from tests.inputs.files import attend, heads, load, refusal, roles, said, write

B, H, SQ, SK = 2, 4, 5, 7
SIZES = CallSizes(B, H, H, SQ, SK, 8, 8)


def booleans(*shape, seed=0):
    keep = torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) < 0.6
    keep[..., 0] = True
    return keep


def expected(tensors, **options):
    """PyTorch's own attention on the same numbers."""
    return nn.functional.scaled_dot_product_attention(tensors["q"], tensors["k"], tensors["v"], **options)


def check(path, wanted, **options):
    call = load(path, **options)
    torch.testing.assert_close(attend(call), wanted, atol=1e-12, rtol=0)
    return call


@pytest.mark.parametrize("name", ["mask", "attn_mask", "keep_mask", "MASK"])
@pytest.mark.parametrize("shape", [(SQ, SK), (1, SK), (H, SQ, SK), (B, 1, 1, SK), (1, H, SQ, 1), (B, H, SQ, SK)])
@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64])
def test_a_keep_mask_is_torch_s_own(tmp_path, name, shape, dtype):
    tensors, keep = heads(), booleans(*shape)
    path = write(tmp_path / "x.safetensors", tensors | {name: keep.to(dtype)})
    call = check(path, expected(tensors, attn_mask=keep))
    sign = "True" if dtype == torch.bool else "1"
    assert said(call, "mask") == [(f"{name}: {sign} = may attend", "default")]
    assert roles(call)[name] == "mask"


def test_a_mask_whose_true_means_hidden_is_multi_head_attention_s(tmp_path):
    torch.manual_seed(0)
    module = nn.MultiheadAttention(16, H, batch_first=True, dtype=torch.float64).eval()
    x, hidden = torch.randn(B, SQ, 16, dtype=torch.float64), ~booleans(B * H, SQ, SQ)
    wanted, _ = module(x, x, x, attn_mask=hidden)
    path = write(tmp_path / "x.safetensors", {"hidden_states": x, "attn_mask": hidden, **module.state_dict()})
    call = check(path, wanted.detach(), num_heads=H, mask_polarity="drop")
    assert said(call, "mask") == [("attn_mask: True = hidden, (B·H, Sq, Sk)", "--mask-polarity")]


@pytest.mark.parametrize("polarity", ["keep", "drop"])
@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.float64])
def test_a_key_padding_mask_is_multi_head_attention_s_whatever_the_polarity(tmp_path, polarity, dtype):
    torch.manual_seed(0)
    module = nn.MultiheadAttention(16, H, batch_first=True, dtype=torch.float64).eval()
    x, hidden = torch.randn(B, SQ, 16, dtype=torch.float64), ~booleans(B, SQ)
    given = torch.randn(B, SQ, dtype=torch.float64) if dtype.is_floating_point else hidden
    wanted, _ = module(x, x, x, key_padding_mask=given)
    stored = given if dtype.is_floating_point else hidden.to(dtype)
    path = write(tmp_path / "x.safetensors", {"hidden_states": x, "key_padding_mask": stored, **module.state_dict()})
    call = check(path, wanted.detach(), num_heads=H, mask_polarity=polarity)
    if dtype.is_floating_point:
        assert roles(call)["key_padding_mask"] == "bias"
        return
    sign = "True" if dtype == torch.bool else "1"
    assert said(call, "mask") == [(f"key_padding_mask: {sign} = hidden", "file")]
    assert roles(call)["key_padding_mask"] == "key_padding_mask"


def test_a_key_padding_mask_of_a_batch_of_one_may_lack_its_axis(tmp_path):
    tensors, hidden = {name: x[:1] for name, x in heads().items()}, ~booleans(SK)
    path = write(tmp_path / "x.safetensors", tensors | {"key_padding_mask": hidden})
    check(path, expected(tensors, attn_mask=~hidden[None]))


@pytest.mark.parametrize("name", ["bias", "attn_bias", "additive_mask", "attn_mask", "attention_mask"])
@pytest.mark.parametrize("shape", [(SQ, SK), (H, SQ, SK), (B, 1, 1, SK), (B, H, SQ, SK), (B * H, SQ, SK)])
def test_a_float_is_added_to_the_logits(tmp_path, name, shape):
    tensors, bias = heads(), torch.randn(*shape, dtype=torch.float64)
    full = bias.reshape(B, H, SQ, SK) if shape[0] == B * H else bias
    path = write(tmp_path / "x.safetensors", tensors | {name: bias})
    call = check(path, expected(tensors, attn_mask=full))
    assert said(call, "bias")[0][0].startswith(f"{name} {shape}")
    assert roles(call)[name] == "bias"


def test_biases_add_up_and_masks_all_apply(tmp_path):
    tensors, keep, keys = heads(), booleans(SQ, SK), booleans(B, SK, seed=1)
    first, second = torch.randn(SQ, SK, dtype=torch.float64), torch.randn(B, 1, 1, SK, dtype=torch.float64)
    stored = tensors | {"mask": keep, "attention_mask": keys.to(torch.int32), "bias": first, "additive_mask": second}
    visible = keep & keys[:, None, None]
    wanted = expected(tensors, attn_mask=(first + second).masked_fill(~visible, -torch.inf))
    call = check(write(tmp_path / "x.safetensors", stored), wanted)
    assert [value for value, _ in said(call, "mask")] == ["mask: True = may attend", "attention_mask: 1 = may attend"]
    assert len(said(call, "bias")) == 2


@pytest.mark.parametrize("dtype", [torch.bool, torch.int64, torch.float32])
@pytest.mark.parametrize("polarity", [None, "keep", "drop"])
def test_hugging_face_s_key_mask_means_the_same_under_any_polarity(tmp_path, dtype, polarity):
    tensors, keys = heads(batch=SQ), booleans(SQ, SK)  # as many batch items as queries: only the name can tell
    path = write(tmp_path / "x.safetensors", tensors | {"attention_mask": keys.to(dtype)})
    call = check(path, expected(tensors, attn_mask=keys[:, None, None]), mask_polarity=polarity)
    assert said(call, "mask") == [("attention_mask: 1 = may attend", "file")]
    assert roles(call)["attention_mask"] == "attention_mask"


def test_an_additive_attention_mask_of_two_axes_is_a_row_of_keys_a_batch_item(tmp_path):
    tensors, keys = heads(), booleans(B, SK)
    bias = torch.zeros(B, SK, dtype=torch.float64).masked_fill(~keys, torch.finfo(torch.float32).min)
    call = check(
        write(tmp_path / "x.safetensors", tensors | {"attention_mask": bias}),
        expected(tensors, attn_mask=bias[:, None, None]),
    )
    assert said(call, "bias") == [("attention_mask (2, 7) as (B, Sk)", "file")]


@pytest.mark.parametrize(
    ("name", "x", "message"),
    [
        (
            "mask",
            torch.ones(B, SK),
            "mask is (2, 7) float32; expected rank 2 to 4, to broadcast to (B, Hq, Sq, Sk) = (2, 4, 5, 7)",
        ),
        ("mask", torch.ones(SQ, SK), "mask is (5, 7) float32; expected booleans, or whole numbers 0 and 1"),
        ("mask", torch.full((SQ, SK), 2), "mask is (5, 7) int64: found 2; expected booleans"),
        ("mask", torch.ones(SK, dtype=torch.bool), "mask is (7,) bool; expected rank 2 to 4"),
        ("mask", torch.ones(SQ, SK + 1, dtype=torch.bool), "mask is (5, 8) bool; expected rank 2 to 4"),
        ("mask", torch.ones(3, SQ, SK, dtype=torch.bool), "mask is (3, 5, 7) bool; expected rank 2 to 4"),
        ("attention_mask", torch.full((B, SK), -1), "attention_mask is (2, 7) int64: found -1; expected booleans"),
        ("bias", torch.ones(SQ, SK, dtype=torch.bool), "bias is (5, 7) bool; expected float numbers"),
        ("bias", torch.ones(SQ, SK, dtype=torch.int32), "bias is (5, 7) int32; expected float numbers"),
        ("sinks", torch.ones(3), "sinks is (3,) float32; expected (4,), one logit a query head"),
        ("sinks", torch.ones(4, dtype=torch.int32), "sinks is (4,) int32; expected float64"),
        (
            "valid_lens",
            torch.tensor([3, 8]),
            "valid_lens is (2,) int64: found 8 at [1]; expected whole numbers from 0 to 7",
        ),
        ("valid_lens", torch.tensor([-1, 8]), "found -1 at [0]"),
        ("valid_lens", torch.tensor([2.5, 3]), "found 2.5 at [0]"),
        ("valid_lens", torch.tensor([1.0, torch.nan]), "found nan at [1]"),
        ("valid_lens", torch.tensor([[1] * 5, [1, 1, 1, 9, 1]]), "found 9 at [1, 3]"),
        (
            "valid_lens",
            torch.tensor([3]),
            "valid_lens is (1,) int64; expected (2,), one a batch item, or (2, 5), one a query",
        ),
        ("valid_lens", torch.tensor([True, False]), "valid_lens is (2,) bool; expected whole numbers"),
        ("token_ids", torch.ones(B, SK), "token_ids is (2, 7) float32; expected whole numbers"),
        (
            "input_ids",
            torch.ones(B, SQ, dtype=torch.int32),
            "input_ids is (2, 5) int32; expected (2, 7), a token id a key",
        ),
    ],
)
def test_what_is_unclear_or_does_not_fit_is_refused(tmp_path, name, x, message):
    path = write(tmp_path / "x.safetensors", heads() | {name: x})
    assert f"{path}: " in refusal(path)
    assert message in refusal(path)


def test_a_key_mask_by_another_name_is_told_how_to_be_written(tmp_path):
    path = write(tmp_path / "x.safetensors", heads() | {"mask": torch.ones(B, SK, dtype=torch.bool)})
    assert "a (B, Sk) key mask is given as (2, 1, 1, 7)" in refusal(path)


@given(data=st.data())
@settings(deadline=None, max_examples=60)
def test_axes_broadcast_as_numpy_has_it(data):
    full = SIZES.weights_shape
    rank = data.draw(st.integers(2, 4))
    shape = tuple(data.draw(st.sampled_from([1, size, size + 1])) for size in full[4 - rank :])
    x = np.arange(np.prod(shape), dtype=float).reshape(shape)
    info = TensorInfo("bias", shape, "float64")
    try:
        wanted = np.broadcast_to(x, full)
    except ValueError:
        with pytest.raises(InputError, match="to broadcast to"):
            four_axes("f", info, SIZES)
        return
    four, _ = four_axes("f", info, SIZES)
    assert len(four) == 4
    assert np.array_equal(torch.from_numpy(x).reshape(four).expand(full).numpy(), wanted)


@given(batch=st.integers(1, 3), num_heads=st.integers(1, 3), rows=st.sampled_from([1, 5]), keys=st.sampled_from([1, 7]))
@settings(deadline=None, max_examples=40)
def test_stacked_heads_are_read_only_where_nothing_else_fits(batch, num_heads, rows, keys):
    sizes = CallSizes(batch, num_heads, num_heads, 5, 7, 8, 8)
    x = torch.arange(batch * num_heads * rows * keys).reshape(batch * num_heads, rows, keys)
    shape, reading = four_axes("f", TensorInfo("mask", tuple(x.shape), "int64"), sizes)
    four = x.reshape(shape)
    if batch * num_heads in (1, num_heads):
        assert reading == ""
        assert torch.equal(four, x[None])
    else:
        assert reading == "(B·H, Sq, Sk)"
        assert torch.equal(four, torch.stack(x.chunk(batch)))


def padding(lens, dtype=torch.float64, value=None):
    keys = torch.arange(SK) < torch.tensor(lens)[:, None]
    value = torch.finfo(dtype).min if value is None else value
    return keys, torch.zeros(len(lens), 1, 1, SK, dtype=dtype).masked_fill(~keys[:, None, None], value)


@pytest.mark.parametrize("value", [None, -torch.inf, -10000.0])
@pytest.mark.parametrize("lens_dtype", [torch.int32, torch.int64, torch.float32, torch.uint8])
def test_padding_said_twice_is_applied_once_so_that_the_flag_overrides_it(tmp_path, value, lens_dtype):
    tensors, (keys, bias) = heads(), padding([3, 6], value=value)
    stored = tensors | {"valid_lens": torch.tensor([3, 6], dtype=lens_dtype)}
    stored |= {"attention_mask": keys.to(torch.int32), "additive_mask": bias}
    path = write(tmp_path / "x.safetensors", stored)
    call = check(path, expected(tensors, attn_mask=keys[:, None, None]))
    assert call.inputs.rules.bias is None
    assert call.inputs.rules.mask.keep is None
    assert said(call, "padding") == [("valid_lens; attention_mask and additive_mask say the same", "file")]
    assert said(call, "valid lengths") == [("3, 6", "file")]
    assert roles(call)["additive_mask"] == "padding"
    longer = check(path, expected(tensors, attn_mask=padding([7, 1])[0][:, None, None]), valid_lens=(7, 1))
    assert said(longer, "valid lengths") == [("7, 1", "--valid-lens")]
    assert said(longer, "padding") == said(call, "padding")


def test_one_repetition_is_said_in_the_singular(tmp_path):
    path = write(
        tmp_path / "x.safetensors", heads() | {"valid_lens": torch.tensor([3, 6]), "attention_mask": padding([3, 6])[0]}
    )
    assert said(load(path), "padding") == [("valid_lens; attention_mask says the same", "file")]


def test_padding_that_differs_applies_beside_the_valid_lengths(tmp_path):
    tensors, (keys, bias) = heads(), padding([4, 6])
    stored = tensors | {"valid_lens": torch.tensor([5, 3]), "attention_mask": keys, "additive_mask": bias}
    call = check(
        write(tmp_path / "x.safetensors", stored), expected(tensors, attn_mask=padding([4, 3])[0][:, None, None])
    )
    assert said(call, "padding") == []
    nearly = padding([5, 3])[1]
    nearly[0, 0, 0, 0] = 0.5
    stored = tensors | {"valid_lens": torch.tensor([5, 3]), "additive_mask": nearly}
    assert load(write(tmp_path / "y.safetensors", stored)).inputs.rules.bias is not None


def test_broken_lengths_in_the_file_do_not_matter_where_the_flag_overrides_them(tmp_path):
    path = write(
        tmp_path / "x.safetensors",
        heads() | {"valid_lens": torch.tensor([99, 1]), "attention_mask": padding([3, 6])[0]},
    )
    call = load(path, valid_lens=(2, 2))
    assert call.inputs.rules.mask.valid_lens.tolist() == [2, 2]
    assert call.inputs.rules.mask.keep is not None
    assert roles(call)["valid_lens"] == "overridden"


def test_a_row_of_lengths_a_batch_item_from_file_and_flag(tmp_path):
    tensors, rows = heads(), [[1, 2, 3, 4, 5], [7, 6, 5, 4, 3]]
    keep = torch.arange(SK) < torch.tensor(rows)[:, None, :, None]
    path = write(tmp_path / "x.safetensors", tensors | {"valid_lens": torch.tensor(rows)})
    call = check(path, expected(tensors, attn_mask=keep))
    assert said(call, "valid lengths") == [("one a query, 1 to 7", "file")]
    bare = write(tmp_path / "y.safetensors", tensors)
    check(bare, expected(tensors, attn_mask=keep), valid_lens=tuple(map(tuple, rows)))


@pytest.mark.parametrize(
    ("lens", "message"),
    [
        ((3,), "--valid-lens: found shape (1,); expected (2,), one a batch item, or (2, 5), one a query"),
        ((3, 2, 1), "found shape (3,)"),
        ((3, 8), "--valid-lens: found 8 at [1]; expected whole numbers from 0 to 7"),
        ((10**30, 1), f"found {10**30} at [0]"),
        (((1, 2), (3,)), "--valid-lens has rows of 2, 1 lengths; expected 5 in each"),
        (((1, 2), (3, 4)), "found shape (2, 2)"),
    ],
)
def test_lengths_on_the_command_line_must_fit_the_call(tmp_path, lens, message):
    assert message in refusal(write(tmp_path / "x.safetensors", heads()), valid_lens=lens)


def test_many_lengths_are_counted_and_not_listed(tmp_path):
    path = write(tmp_path / "x.safetensors", heads(batch=10) | {"valid_lens": torch.arange(10).clamp(max=7)})
    assert said(load(path), "valid lengths") == [("0, 1, 2, 3, 4, 5, 6, 7 … (10 batch items)", "file")]


def test_sinks_join_the_denominator(tmp_path):
    tensors, sinks = heads(), torch.randn(H, dtype=torch.float64)
    call = load(write(tmp_path / "x.safetensors", tensors | {"sinks": sinks}))
    q, k, v = (tensors[name].numpy() for name in "qkv")
    exponentials = np.exp(q @ k.swapaxes(-1, -2) / np.sqrt(8))
    weights = exponentials / (exponentials.sum(-1, keepdims=True) + np.exp(sinks.numpy())[:, None, None])
    np.testing.assert_allclose(attend(call).numpy(), weights @ v, atol=1e-12)
    assert said(call, "sinks") == [("4 learned logits in the denominator", "file")]


def test_token_ids_of_a_batch_of_one_may_lack_the_batch(tmp_path):
    path = write(tmp_path / "x.safetensors", heads(batch=1) | {"input_ids": torch.arange(SK, dtype=torch.int32)})
    call = load(path)
    assert call.inputs.token_ids.tolist() == [list(range(SK))]
    assert call.inputs.token_ids.dtype == torch.int64
    assert roles(call)["input_ids"] == "token_ids"
