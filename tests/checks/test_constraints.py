"""Calls with several masks and biases in one file: each is judged, and inverted, by itself."""

import pytest
import torch
from safetensors.torch import save_file
from torch.nn.functional import scaled_dot_product_attention

from attn_cli.checks.rules.future import FutureLeak
from attn_cli.checks.rules.leak import FiniteConstant
from attn_cli.checks.rules.mask_axis import MaskAxis
from attn_cli.checks.rules.polarity import MaskPolarity
from attn_cli.checks.rules.recorded import RecordedDisagrees
from attn_cli.inputs.options import ReadOptions
from attn_cli.inputs.source import open_calls
from attn_cli.inspection.types import Place
from tests.checks.cases import case, evidence, finding, findings

SIZE = 12
HIDDEN = torch.ones(SIZE, SIZE, dtype=torch.bool).triu(1)  # what causal order hides
PADDING = torch.arange(SIZE) >= torch.tensor([SIZE, 7])[:, None]  # (B, Sk)
ALIBI = (-torch.tensor([0.5, 0.25, 0.125])[:, None, None] * (torch.arange(SIZE)[:, None] - torch.arange(SIZE)).abs())[
    None
]
T5 = torch.randn(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1)) * 2


@pytest.fixture
def loaded(tmp_path):
    """Gives a function that writes tensors beside q, k and v and loads the call."""

    def load(**tensors):
        inputs = case(2, 3, SIZE, SIZE).inputs
        path = tmp_path / "call.safetensors"
        every = {"q": inputs.q, "k": inputs.k, "v": inputs.v, **tensors}
        save_file({name: x.contiguous() for name, x in every.items()}, path)
        with open_calls(ReadOptions(file=str(path))) as source:
            return source.plans[0].load()

    return load


def output(keep):
    """What PyTorch gives for the case's q, k and v."""
    inputs = case(2, 3, SIZE, SIZE).inputs
    return scaled_dot_product_attention(inputs.q, inputs.k, inputs.v, keep)


def test_masks_of_multi_head_attention_read_as_keep(loaded):
    """Both say what is hidden; ~(a & b) is not ~a & ~b."""
    padding = PADDING[:, None, None]
    call = loaded(attn_mask=HIDDEN, mask=padding, output=output(~HIDDEN & ~padding))
    found = finding(MaskPolarity(), call)
    assert found.place == Place("attn_mask", query=0, key=1)
    assert found.message.startswith("the mask attn_mask (True = may attend, default) shows each query the keys after")
    seen = int((~HIDDEN & ~padding).sum())
    assert f"read with all masks the other way round, {seen} of 288 cells are visible" in found.message
    assert "--mask-polarity drop" in found.hint
    recorded = finding(RecordedDisagrees(), call)
    assert "what all masks read the other way round gives" in recorded.message
    assert "--mask-polarity" in recorded.hint


def test_one_of_two_masks_is_inverted(loaded):
    padding = PADDING[:, None, None]
    call = loaded(attn_mask=~HIDDEN, mask=padding, output=output(~HIDDEN & ~padding))
    found = finding(MaskPolarity(), call)
    assert found.place.tensor == "mask"
    assert "where padding stands" in found.message
    assert f"read the other way round, {int((~HIDDEN & ~padding).sum())} of 288 cells are visible" in found.message
    assert "Invert this mask where it is made" in found.hint
    assert "what the mask read the other way round gives" in finding(RecordedDisagrees(), call).message


def test_a_key_mask_keeps_its_own_meaning(loaded):
    padding = PADDING[:, None, None]
    call = loaded(attn_mask=HIDDEN, attention_mask=(~PADDING).long(), output=output(~HIDDEN & ~padding))
    found = finding(MaskPolarity(), call)
    assert found.place.tensor == "attn_mask"
    assert f"read the other way round, {int((~HIDDEN & ~padding).sum())} of 288 cells are visible" in found.message
    assert "what the mask attn_mask read the other way round gives" in finding(RecordedDisagrees(), call).message


def test_a_padding_mask_that_says_what_may_be_seen(loaded):
    """``key_padding_mask`` marks what is hidden, and here it marks the text."""
    call = loaded(attn_mask=~HIDDEN, key_padding_mask=~PADDING, output=output(~HIDDEN & ~PADDING[:, None, None]))
    found = finding(MaskPolarity(), call)
    assert found.place == Place("key_padding_mask", batch=0)
    assert "its 1 stands for a key that is hidden" in found.hint
    recorded = finding(RecordedDisagrees(), call)
    assert "what the mask key_padding_mask read the other way round gives" in recorded.message
    assert "Invert it where it is made" in recorded.hint


def test_masks_that_are_as_they_should_be(loaded):
    call = loaded(attn_mask=~HIDDEN, mask=~PADDING[:, None, None], output=output(~HIDDEN & ~PADDING[:, None, None]))
    for check in (MaskPolarity(), RecordedDisagrees(), FutureLeak(), MaskAxis()):
        assert findings(check, call) == ()


@pytest.mark.parametrize("position", [ALIBI, T5])
@pytest.mark.parametrize("constant", [-1e4, -1e9, torch.finfo(torch.float32).min, -torch.inf])
def test_a_mask_is_seen_beside_a_position_bias(loaded, position, constant):
    def additive(keep):
        return torch.zeros(keep.shape).masked_fill(~keep, constant)[(None,) * (4 - keep.dim())]

    assert findings(FutureLeak(), loaded(attn_mask=additive(~HIDDEN), bias=position)) == ()
    found = finding(FutureLeak(), loaded(attn_mask=additive(~HIDDEN.triu(2)), bias=position))
    assert (found.place.tensor, found.count) == ("attn_mask", SIZE - 1)
    inverted = finding(MaskPolarity(), loaded(attn_mask=additive(HIDDEN), bias=position))
    assert inverted.place == Place("attn_mask", query=0, key=1)
    assert (
        "198 of 432 cells are visible and 3 query rows are empty; read the other way round, 234 of 432"
        in inverted.message
    )
    padded = loaded(attn_mask=additive(PADDING[:, None, None]), bias=position)
    assert finding(MaskPolarity(), padded).place == Place("attn_mask", batch=0)


def test_the_position_bias_stays_where_the_mask_is_inverted(loaded):
    mask = torch.zeros(1, 1, SIZE, SIZE).masked_fill(~HIDDEN, -1e4)
    seen = evidence(loaded(attn_mask=mask, bias=ALIBI))
    assert [part.hides for part in seen.parts] == [True, False]
    assert seen.bias_hides
    assert torch.equal(seen.seen_keys[0, 0], HIDDEN.sum(dim=-1))


@pytest.mark.parametrize("position", [ALIBI, T5])
def test_a_weak_constant_leaks_beside_a_position_bias(loaded, position):
    mask = torch.zeros(1, 1, SIZE, SIZE).masked_fill(HIDDEN, -5.0)
    call = loaded(attn_mask=mask, bias=position)
    found = finding(FiniteConstant(), call)
    inputs = call.inputs
    weights = ((inputs.q @ inputs.k.mT).double() / 4 + (mask + position).double()).softmax(dim=-1)
    shares = (weights * HIDDEN).sum(dim=-1)
    assert (found.severity, found.place.tensor, found.count) == ("error", "bias", int((shares > 1e-6).sum()))
    assert f"up to {float(shares.max()):.2%} of a row's weight" in found.message
    assert findings(FiniteConstant(), loaded(attn_mask=mask * 2000, bias=position)) == ()
