"""How the axes of Q, K and V are read."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attn_cli.inputs.layout import as_heads, head_shape, read_layout
from attn_cli.inputs.metadata import Texts
from attn_cli.inputs.options import ReadOptions
from attn_cli.inputs.settings import read_settings
from attn_cli.inputs.types import TensorInfo
from tests.inputs.files import attend, heads, load, refusal, said, write


def stored(tensors, change):
    return {name: change(x) for name, x in tensors.items()}


def side_by_side(x):
    return x.transpose(1, 2).flatten(2)  # (B, S, H·D)


def test_every_layout_of_the_same_numbers_gives_the_same_call(tmp_path):
    tensors = heads(kv_heads=2)
    wanted = attend(load(write(tmp_path / "a.safetensors", tensors)))
    bshd = write(tmp_path / "b.safetensors", stored(tensors, lambda x: x.transpose(1, 2)))
    flat = write(tmp_path / "c.safetensors", stored(tensors, side_by_side))
    told = write(tmp_path / "d.safetensors", stored(tensors, side_by_side), {"num_heads": "4"})
    turned = write(tmp_path / "e.safetensors", stored(tensors, lambda x: x.transpose(1, 2)), {"layout": "bshd"})
    for path, options in (
        (bshd, {"layout": "bshd"}),
        (flat, {"num_heads": 4}),
        (flat, {"num_heads": 4, "num_kv_heads": 2}),
        (told, {}),
        (turned, {}),
    ):
        assert torch.equal(attend(load(path, **options)), wanted)


def test_the_layout_is_said_with_who_chose_it(tmp_path):
    tensors = heads()
    path = write(tmp_path / "a.safetensors", tensors)
    assert said(load(path), "layout") == [("(B, H, S, D)", "default")]
    path = write(tmp_path / "b.safetensors", stored(tensors, side_by_side))
    assert said(load(path, num_heads=2), "layout") == [("(B, S, H·D), cut into 2 heads", "--num-heads")]
    square = stored(heads(queries=7), lambda x: x.transpose(1, 2))
    path = write(tmp_path / "c.safetensors", square, {"layout": "bshd"})
    assert said(load(path), "layout") == [("(B, S, H, D)", "metadata")]
    assert said(load(path, layout="bhsd"), "layout") == [("(B, H, S, D)", "--layout")]


def test_three_axes_are_a_batch_of_one(tmp_path):
    tensors = heads(batch=1)
    path = write(tmp_path / "a.safetensors", stored(tensors, lambda x: x[0]))
    call = load(path)
    assert torch.equal(call.inputs.q, tensors["q"])
    assert said(call, "layout") == [("(H, S, D), a batch of one", "default")]
    turned = write(tmp_path / "b.safetensors", stored(tensors, lambda x: x[0].transpose(0, 1)))
    assert torch.equal(load(turned, layout="bshd").inputs.k, tensors["k"])


def test_metadata_heads_do_not_cut_what_already_has_that_many(tmp_path):
    tensors = heads(batch=1, heads=4)
    path = write(tmp_path / "a.safetensors", stored(tensors, lambda x: x[0]), {"num_heads": "4"})
    assert torch.equal(load(path).inputs.q, tensors["q"])
    odd = write(tmp_path / "b.safetensors", stored(heads(batch=1, heads=3), lambda x: x[0]), {"num_heads": "5"})
    assert load(odd).inputs.q.shape == (1, 3, 5, 8)


def test_two_axes_are_one_head(tmp_path):
    tensors = heads(batch=1, heads=1)
    path = write(tmp_path / "a.safetensors", stored(tensors, lambda x: x[0, 0]))
    call = load(path)
    assert torch.equal(call.inputs.q, tensors["q"])
    assert said(call, "layout") == [("(S, D), one head and a batch of one", "default")]
    assert load(path, num_heads=2).inputs.q.shape == (1, 2, 5, 4)


def test_every_reading_is_a_view_of_the_file(tmp_path):
    tensors = stored(heads(), side_by_side)
    call = load(write(tmp_path / "x.safetensors", tensors), num_heads=4)
    assert call.inputs.q._base is not None
    assert call.inputs.q.untyped_storage().nbytes() <= tensors["q"].nbytes + 4096


def test_grouped_queries_are_said(tmp_path):
    call = load(write(tmp_path / "x.safetensors", heads(heads=8, kv_heads=2)))
    assert said(call, "heads") == [("8 query heads share 2 key/value heads", "file")]
    assert said(load(write(tmp_path / "y.safetensors", heads(heads=8, kv_heads=1))), "heads") == [
        ("8 query heads share 1 key/value head", "file")
    ]


@pytest.mark.parametrize(
    ("shapes", "options", "message"),
    [
        (
            ((2, 4, 5, 8), (3, 4, 7, 8), (2, 4, 7, 8)),
            {},
            "k is (3, 4, 7, 8) float32: batch 3; expected 2, as q is (2, 4, 5, 8)",
        ),
        (((2, 4, 5, 8), (2, 4, 7, 9), (2, 4, 7, 8)), {}, "k is (2, 4, 7, 9) float32: head dimension 9; expected 8"),
        (((2, 4, 5, 8), (2, 4, 7, 8), (2, 4, 6, 8)), {}, "v is (2, 4, 6, 8) float32: keys 6; expected 7, as k"),
        (((2, 4, 5, 8), (2, 4, 7, 8), (2, 2, 7, 8)), {}, "v is (2, 2, 7, 8) float32: key/value heads 2; expected 4"),
        (
            ((2, 4, 5, 8), (2, 3, 7, 8), (2, 3, 7, 8)),
            {},
            "q has 4 query heads for 3 key/value heads; expected a multiple",
        ),
        (((2, 4, 5, 8), (4, 7, 8), (4, 7, 8)), {}, "k is (4, 7, 8) float32: rank 3; expected 4"),
        (((2, 4, 0, 8), (2, 4, 7, 8), (2, 4, 7, 8)), {}, "q is (2, 4, 0, 8) float32; expected no axis of size 0"),
        (
            ((8,), (8,), (8,)),
            {},
            "q is (8,) float32; expected (B, H, S, D), (H, S, D), or (B, S, H·D) with --num-heads",
        ),
        (((1, 1, 1, 1, 8),) * 3, {}, "q is (1, 1, 1, 1, 8) float32; expected (B, H, S, D)"),
        (((2, 5, 30),) * 3, {"num_heads": 4}, "q is (2, 5, 30) float32: 30 features for 4 heads; expected a multiple"),
        (
            ((2, 5, 32), (2, 5, 12), (2, 5, 12)),
            {"num_heads": 4},
            "k is (2, 5, 12) float32: 12 features; expected a multiple of 8",
        ),
        (((2, 5, 32), (2, 5, 16), (2, 5, 15)), {"num_heads": 4}, "v is (2, 5, 15) float32: 15 features for 2 heads"),
        (((2, 5, 4, 8),) * 3, {"num_heads": 4}, "q is (2, 5, 4, 8) float32: 5 heads; expected 4, as --num-heads says"),
        (
            ((2, 4, 5, 8),) * 3,
            {"num_kv_heads": 2},
            "k is (2, 4, 5, 8) float32: 4 heads; expected 2, as --num-kv-heads says",
        ),
    ],
)
def test_what_does_not_fit_is_refused_by_name_and_size(tmp_path, shapes, options, message):
    tensors = {name: torch.zeros(shape) for name, shape in zip("qkv", shapes, strict=True)}
    path = write(tmp_path / "x.safetensors", tensors)
    assert f"{path}: {message}" in refusal(path, **options)


def test_heads_on_the_other_axis_are_hinted_at(tmp_path):
    tensors = {name: torch.zeros(2, 5, 4, 8) for name in "qkv"}
    path = write(tmp_path / "x.safetensors", tensors)
    assert "--layout bshd or bhsd says" in refusal(path, num_heads=4)
    longer = write(tmp_path / "z.safetensors", tensors | {name: torch.zeros(2, 7, 4, 8) for name in "kv"})
    assert "q has 5 query heads for 7 key/value heads" in refusal(longer)
    assert "--layout bshd reads the axes as (B, S, H, D)" in refusal(longer)


def test_metadata_that_only_the_other_layout_agrees_with_makes_the_axes_unclear(tmp_path):
    path = write(tmp_path / "x.safetensors", {name: torch.zeros(2, 5, 4, 8) for name in "qkv"}, {"num_heads": "4"})
    assert "q is (2, 5, 4, 8) float32: 5 heads; expected 4, as metadata says" in refusal(path)
    assert load(path, layout="bshd").inputs.q.shape == (2, 4, 5, 8)
    assert load(path, layout="bhsd").inputs.q.shape == (2, 5, 4, 8)
    some = write(tmp_path / "y.safetensors", {name: torch.zeros(2, 3, 6, 8) for name in "qkv"}, {"num_heads": "12"})
    assert load(some).inputs.q.shape == (2, 3, 6, 8)


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64])
def test_what_is_no_real_number_is_refused(tmp_path, dtype):
    tensors = heads(dtype=torch.float32)
    path = write(tmp_path / "x.safetensors", tensors | {"k": tensors["k"].to(dtype)})
    name = str(dtype).removeprefix("torch.")
    assert f"k is (2, 4, 7, 8) {name}; expected float64, float32, bfloat16, float16 or float8" in refusal(path)


def test_dtypes_that_differ_are_promoted_and_said(tmp_path):
    tensors = heads(dtype=torch.float16)
    path = write(tmp_path / "x.safetensors", tensors | {"k": tensors["k"].to(torch.bfloat16)})
    call = load(path)
    assert call.inputs.dtype == torch.float32
    assert said(call, "dtype") == [("float16 and bfloat16, read as float32", "file")]
    placed = call.inputs.to(torch.device("cpu"), call.inputs.dtype)
    assert torch.equal(placed.k, tensors["k"].to(torch.bfloat16).float())


def test_nan_is_no_fault_of_the_file(tmp_path):
    tensors = heads()
    tensors["q"][0, 1, 2, 3] = torch.nan
    assert load(write(tmp_path / "x.safetensors", tensors)).inputs.q.isnan().sum() == 1


@given(
    sizes=st.tuples(*[st.integers(1, 4)] * 4),
    kind=st.sampled_from(["bhsd", "bshd", "flat"]),
    kv=st.integers(1, 3),
)
@settings(deadline=None, max_examples=40)
def test_reading_undoes_what_writing_did(sizes, kind, kv):
    batch, kv_heads, length, features = sizes
    num_heads = kv * kv_heads
    x = np.arange(batch * num_heads * length * features, dtype=float).reshape(batch, num_heads, length, features)
    k = x[:, :kv_heads]
    change = {
        "bhsd": lambda y: y,
        "bshd": lambda y: y.transpose(0, 2, 1, 3),
        "flat": lambda y: y.transpose(0, 2, 1, 3).reshape(batch, length, -1),
    }[kind]
    options = {"bhsd": {}, "bshd": {"layout": "bshd"}, "flat": {"num_heads": num_heads, "num_kv_heads": kv_heads}}[kind]
    infos = tuple(TensorInfo(name, change(y).shape, "float64") for name, y in (("q", x), ("k", k), ("v", k)))
    reading = read_layout("f", infos, read_settings(ReadOptions(**options), Texts("f", {}).of("")))
    for y, count in ((x, num_heads), (k, kv_heads)):
        assert head_shape(change(y).shape, reading, count) == y.shape
        read = as_heads(torch.from_numpy(np.ascontiguousarray(change(y))), reading, count)
        assert np.array_equal(read.numpy(), y)
