"""ATTN009: masks that are added, and biases that only share a number with them."""

import pytest
import torch

from attn_cli.checks.rules.mask_as_bias import MaskAsBias
from attn_cli.inspection.types import Place
from tests.checks.cases import case, finding, findings
from tests.checks.healthy import additive

CHECK = MaskAsBias()
CAUSAL = torch.ones(8, 8).tril().bool()[None, None]
PADDED = (torch.arange(8) < torch.tensor([8, 5])[:, None])[:, None, None]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_keep_mask_passed_as_float(dtype):
    found = finding(CHECK, case(bias=CAUSAL.to(dtype)))
    assert (found.code, found.severity) == ("ATTN009", "warning")
    assert (found.place, found.count) == (Place("bias", query=0, key=1), 28)
    assert "holds 1 and 0 alone, which hide nothing: 64 of 64 cells are visible" in found.message
    assert (
        "read as a mask, 36 of 64 cells are visible and no query row is empty, and the output changes" in found.message
    )
    assert "booleans" in found.hint


def test_padding_passed_as_float_names_its_item():
    found = finding(CHECK, case(bias=PADDED.float()))
    assert (found.place, found.count) == (Place("bias", batch=1, key=5), 3)


def test_a_mask_minus_one():
    found = finding(CHECK, case(bias=CAUSAL.float() - 1))
    assert (found.place, found.count) == (Place("bias", query=0, key=1), 28)
    assert "0 and -1 alone" in found.message
    assert "-inf where the -1 is" in found.hint


@pytest.mark.parametrize("constant", [1e9, 1e4, torch.inf])
def test_the_wrong_sign(constant):
    found = finding(CHECK, case(bias=additive(CAUSAL, constant)))
    assert (found.place, found.count) == (Place("bias", query=0, key=1), 28)
    assert f"holds {constant:g}, which draws all weight" in found.message
    assert "sign" in found.hint


@pytest.mark.parametrize(
    "bias",
    [
        torch.zeros(1, 1, 8, 8),
        torch.ones(1, 1, 8, 8),
        torch.eye(3)[0].view(1, 3, 1, 1),  # one number a head changes nothing
        torch.cat([torch.zeros(1, 1, 4, 8), torch.ones(1, 1, 4, 8)], dim=2),  # nor does one a row
        torch.randn(1, 3, 8, 8),
        torch.randn(1, 3, 8, 8) * 2e3,
        additive(CAUSAL),
        additive(CAUSAL, -1e9),
        CAUSAL.float() * 0.5,
        additive(CAUSAL) + 1,
        additive(CAUSAL).index_put((torch.tensor(0),) * 4, torch.tensor(torch.inf)),  # a stray number in a sound mask
    ],
)
def test_other_biases_are_left_alone(bias):
    assert findings(CHECK, case(bias=bias)) == ()


def test_without_a_bias():
    assert findings(CHECK, case(keep=CAUSAL)) == ()
