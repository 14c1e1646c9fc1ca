"""xFormers' memory_efficient_attention: what is recorded gives its output again."""

import pytest
import torch

from attn_cli.recording.libraries.base import PassedOver
from attn_cli.recording.libraries.xformers import MODULE, NAMES, POINTS
from tests.recording import xformers_fakes as fakes
from tests.recording.libraries_fakes import assert_reproduces, drawn, heard, installed

__all__ = ["installed"]
MASKS = [
    None,
    fakes.LowerTriangularMask(),
    fakes.LowerTriangularFromBottomRightMask(),
    fakes.LowerTriangularFromBottomRightLocalAttentionMask(2),
    fakes.LocalAttentionFromBottomRightMask(2, 1),
]
BLOCKS = [
    fakes.BlockDiagonalMask([2, 3], [4, 3]),
    fakes.BlockDiagonalMask([2, 3], [4, 3], fakes.LowerTriangularMask()),
    fakes.BlockDiagonalMask([2, 3], [4, 3], fakes.LowerTriangularFromBottomRightMask()),
]


@pytest.fixture(autouse=True)
def library(installed):
    return installed(MODULE, fakes.FUNCTIONS)


def call(*args, name="memory_efficient_attention", **options):
    return heard(POINTS, MODULE, name, *args, **options)[0]


def qkv(*middle, batch=2, queries=5, keys=7):
    sizes = ((queries, 8), (keys, 8), (keys, 6))
    return [drawn(batch, length, *middle, size, seed=n) for n, (length, size) in enumerate(sizes)]


@pytest.mark.parametrize("mask", MASKS, ids=lambda mask: type(mask).__name__)
@pytest.mark.parametrize("sizes", [(5, 7), (7, 5)], ids=str)
@pytest.mark.parametrize("middle", [(), (4,), (2, 2)], ids=str)
def test_every_layout_and_mask_gives_the_output_again(mask, sizes, middle):
    raw = call(*qkv(*middle, queries=sizes[0], keys=sizes[1]), mask, scale=0.4)
    assert raw.q.shape == (2, torch.Size(middle).numel(), sizes[0], 8)
    assert raw.mask is None
    assert_reproduces(raw)


@pytest.mark.parametrize("mask", BLOCKS, ids=["whole", "top-left", "bottom-right"])
def test_block_diagonal_masks_are_written_out(mask):
    raw = call(*qkv(4, batch=1), mask)
    assert raw.mask.shape == (1, 1, 5, 7)
    assert_reproduces(raw)


@pytest.mark.parametrize(
    ("middle", "shape"),
    [
        ((), (2, 5, 7)),
        *(((4,), shape) for shape in ((2, 4, 5, 7), (1, 4, 5, 7), (8, 5, 7), (5, 7))),
        *(((2, 2), shape) for shape in ((2, 2, 2, 5, 7), (2, 2, 1, 5, 7), (1, 1, 1, 5, 7))),
    ],
    ids=str,
)
def test_tensors_are_added_to_the_logits(middle, shape):
    bias = drawn(*shape, seed=9)
    bias[..., 3, 2] = -torch.inf
    assert_reproduces(call(*qkv(*middle), bias))


@pytest.mark.parametrize("middle", [(4,), (2, 2)], ids=str)
def test_causal_order_with_a_bias(middle):
    raw = call(*qkv(*middle), fakes.LowerTriangularMaskWithTensorBias(drawn(2, *middle, 5, 7, seed=9)))
    assert raw.causal == "top-left"
    assert_reproduces(raw)


def test_shared_heads_of_groups_are_kept_once():
    q = drawn(2, 5, 2, 3, 8)
    k, v = (drawn(2, 7, 2, 1, 8, seed=n).expand(-1, -1, -1, 3, -1) for n in (1, 2))
    raw = call(q, k, v)
    assert raw.k.shape == (2, 2, 7, 8)
    assert_reproduces(raw)


def test_an_expanded_bias_is_kept_once():
    raw = call(*qkv(4), drawn(1, 1, 5, 7).expand(2, 4, 5, 7))
    assert raw.mask.shape == (1, 1, 5, 7)


@pytest.mark.parametrize("name", NAMES)
def test_all_of_its_functions_are_heard(name):
    assert_reproduces(call(*qkv(4), fakes.LowerTriangularMask(), name=name))


def test_what_dropout_changed_is_no_output():
    raw = call(*qkv(4), None, 0.5)
    assert (raw.dropout, raw.output) == (0.5, None)


@pytest.mark.parametrize(
    ("bias", "reason"),
    [
        (fakes.Opaque(), "class Opaque"),
        (fakes.Unwritten(), "class Unwritten"),
        (torch.ones(5, 7, dtype=torch.bool), "attn_bias of bool"),
    ],
)
def test_what_cannot_be_written_out_is_passed_over(bias, reason):
    q, k, v = qkv(4)
    with pytest.raises(PassedOver, match=reason):
        POINTS[0].translate((q, k, v, bias), {}, q[..., :6])


def test_quantized_keys_are_passed_over():
    q, k, v = qkv(4)
    with pytest.raises(PassedOver, match="quantized"):
        POINTS[0].translate((q, k.int(), v.int()), {}, q[..., :6])


def test_a_bias_of_too_many_cells_is_passed_over(monkeypatch):
    monkeypatch.setattr("attn_cli.recording.libraries.small_axes.LARGEST_MASK", 10)
    q, k, v = qkv(4, batch=1)
    with pytest.raises(PassedOver, match="an attn_bias of more than"):
        POINTS[0].translate((q, k, v, BLOCKS[0]), {}, q[..., :6])
