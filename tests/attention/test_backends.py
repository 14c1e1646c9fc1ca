"""Every backend against float64 textbook attention, and what it says of itself."""

import pytest
import torch

from attn_cli.attention import backends, textbook
from attn_cli.attention.backends import sdpa
from attn_cli.errors import BackendError
from tests.attention.calls import make_call
from tests.cli.process import python

KEEP = torch.rand(2, 4, 5, 7, generator=torch.Generator().manual_seed(3)) > 0.5
BIAS = torch.randn(1, 4, 5, 7, generator=torch.Generator().manual_seed(4))
CASES = {
    "plain": {},
    "causal": {"causal": True},
    "causal top-left": {"causal": True, "align": "top-left"},
    "causal offset": {"causal": True, "align": -2},
    "window": {"window": (2, 0)},
    "valid lengths": {"valid_lens": torch.tensor([0, 5])},
    "valid lengths a query": {"valid_lens": torch.tensor([[0, 1, 2, 3, 4], [7, 6, 5, 4, 3]])},
    "keep": {"keep": KEEP},
    "bias": {"bias": BIAS},
    "bias and valid lengths": {"bias": BIAS, "valid_lens": torch.tensor([2, 7])},
    "grouped": {"kv_heads": 2, "causal": True},
    "scale": {"scale": -0.3},
    "values narrower": {"value_features": 4},
}
SOFT = {"softcap": {"softcap": 1.0}, "sinks": {"sinks": torch.tensor([0.0, 2.0, -1.0, 9.0])}}


def exact(call):
    return textbook.attend(call.to(torch.device("cpu"), torch.float64)).output


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", ["auto", "textbook", "sdpa", "math", "flex"])
def test_equals_float64_textbook(name, case):
    call = make_call(dtype=torch.float32, **CASES[case])
    ran = backends.run(name, call)
    torch.testing.assert_close(ran.output.double(), exact(call), atol=1e-5, rtol=0)
    torch.testing.assert_close(ran.again(), ran.output, atol=0, rtol=0)


@pytest.mark.parametrize("case", [case for case in CASES if case != "values narrower"])
def test_flash_equals_float64_textbook(case):
    call = make_call(dtype=torch.float32, **CASES[case])
    ran = backends.run("flash", call)
    assert ran.ran == "flash"
    torch.testing.assert_close(ran.output.double(), exact(call), atol=1e-5, rtol=0)


@pytest.mark.parametrize("case", SOFT)
@pytest.mark.parametrize("name", ["auto", "textbook", "flex"])
def test_softcap_and_sinks_equal_float64_textbook(name, case):
    call = make_call(dtype=torch.float32, causal=True, **SOFT[case])
    torch.testing.assert_close(backends.run(name, call).output.double(), exact(call), atol=1e-5, rtol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ["auto", "math", "textbook"])
def test_half_types_stay_within_their_rounding(name, dtype):
    call = make_call(dtype=dtype, causal=True)
    eps = torch.finfo(dtype).eps
    torch.testing.assert_close(backends.run(name, call).output.double(), exact(call), atol=8 * eps, rtol=8 * eps)


def test_names_the_kernel_that_really_ran():
    fused = backends.run("sdpa", make_call(dtype=torch.float32))
    assert (fused.ran, fused.kernel) == ("flash", "_scaled_dot_product_flash_attention_for_cpu")
    unequal = backends.run("sdpa", make_call(dtype=torch.float32, value_features=4))
    assert unequal.ran == "math"


def test_auto_says_why_it_did_not_take_sdpa():
    ran = backends.run("auto", make_call(dtype=torch.float32, softcap=1.0))
    assert ran.ran == "textbook"
    assert ran.note is not None
    assert "softcap" in ran.note
    assert backends.run("auto", make_call(dtype=torch.float32)).note is None


@pytest.mark.parametrize(
    ("name", "case", "reason"),
    [
        ("flash", {"value_features": 4}, "same last dimension"),
        ("efficient", {}, "No viable backend"),
        ("sdpa", {"softcap": 1.0}, "softcap"),
        ("sdpa", {"sinks": torch.zeros(4)}, "sinks"),
        ("flash", {"value": -1e6}, "mask value"),
        ("flex", {"value": -1e6}, "mask value"),
    ],
)
def test_a_backend_that_cannot_says_why(name, case, reason):
    with pytest.raises(BackendError, match=reason) as caught:
        backends.run(name, make_call(dtype=torch.float32, **case))
    assert name in caught.value.message


def test_large_masks_are_made_in_blocks(monkeypatch):
    call = make_call(dtype=torch.float32, window=(2, 1), valid_lens=torch.tensor([3, 7]))
    whole = backends.run("sdpa", call).output
    monkeypatch.setattr(sdpa, "MASK_CELLS_AT_ONCE", 30)
    torch.testing.assert_close(backends.run("sdpa", call).output, whole, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    "case",
    [
        {"window": (6, 0), "causal": True},
        {"window": (2, 3), "align": "top-left", "kv_heads": 2},
        {"window": (4, 1), "valid_lens": torch.tensor([0, 37])},
        {"window": (4, -1), "bias": torch.randn(1, 4, 40, 50)},
        {"window": (5, 2), "keep": torch.rand(2, 1, 40, 50) > 0.4},
        {"causal": True, "align": 30},
        {"causal": True, "align": -20},
    ],
)
def test_blocks_of_rows_read_the_keys_they_reach(case, monkeypatch):
    call = make_call(queries=40, keys=50, dtype=torch.float32, **case)
    monkeypatch.setattr(sdpa, "ROWS_OF_WINDOW", 8)
    monkeypatch.setattr(sdpa, "MASK_CELLS_AT_ONCE", 16 * 50 * 8)
    torch.testing.assert_close(backends.run("sdpa", call).output.double(), exact(call), atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [256, 512])
def test_a_window_costs_its_width_for_every_row(size, monkeypatch):
    cells, run = [], sdpa._sdpa
    monkeypatch.setattr(sdpa, "ROWS_OF_WINDOW", 16)
    monkeypatch.setattr(
        sdpa, "_sdpa", lambda inputs, rows, **mask: cells.append(inputs.weights_shape) or run(inputs, rows, **mask)
    )
    call = make_call(1, 1, queries=size, keys=size, dtype=torch.float32, causal=True, window=(15, 0))
    sdpa.SDPABackend("sdpa").prepare(call)()
    assert sum(shape[2] * shape[3] for shape in cells) <= 32 * size


def test_bottom_right_mask_object_is_what_the_rule_says():
    """Taken on CUDA alone; here its meaning is checked where PyTorch turns it into a mask."""
    from attn_cli.attention.torch_compat import bottom_right_causal

    call = make_call(dtype=torch.float32, causal=True)
    theirs = torch.nn.functional.scaled_dot_product_attention(
        call.q, call.k, call.v, attn_mask=bottom_right_causal(5, 7)
    )
    torch.testing.assert_close(theirs.double(), exact(call), atol=1e-5, rtol=0)


@pytest.mark.parametrize("case", [{}, {"causal": True, "align": "top-left"}, {"valid_lens": torch.tensor([2, 7])}])
def test_what_falls_back_on_math_is_run_in_blocks(case, monkeypatch):
    """The math kernel holds all scores at once; long inputs must not."""
    call = make_call(dtype=torch.float32, value_features=4, **case)
    monkeypatch.setattr(sdpa, "MASK_CELLS_AT_ONCE", 60)
    ran = backends.run("sdpa", call)
    assert ran.ran == "math"
    torch.testing.assert_close(ran.output.double(), exact(call), atol=1e-5, rtol=0)


def test_what_hides_nothing_is_one_call_without_a_mask(monkeypatch):
    calls = []
    monkeypatch.setattr(sdpa, "MASK_CELLS_AT_ONCE", 1)
    monkeypatch.setattr(sdpa, "_sdpa", lambda inputs, rows, **mask: calls.append((rows, mask)) or inputs.q)
    sdpa.SDPABackend("sdpa").prepare(make_call(dtype=torch.float32, valid_lens=torch.tensor([7, 7])))()
    assert calls == [(slice(None), {})]


@pytest.mark.parametrize("name", ["textbook", "sdpa", "flex"])
def test_half_inputs_take_a_wider_bias(name):
    call = make_call(dtype=torch.bfloat16, bias=torch.randn(1, 4, 5, 7)).to(torch.device("cpu"), torch.bfloat16)
    assert call.rules.bias.dtype == torch.float32
    ran = backends.run(name, call)
    assert ran.output.dtype == torch.bfloat16
    torch.testing.assert_close(ran.output.double(), exact(call), atol=0.05, rtol=0.05)


def test_watching_a_kernel_does_not_import_the_compiler():
    script = (
        "import sys, torch\nfrom attn_cli.attention import backends\nfrom tests.attention.calls import make_call\n"
        "assert backends.run('sdpa', make_call(dtype=torch.float32)).ran == 'flash'\n"
        "assert 'torch._dynamo' not in sys.modules"
    )
    done = python(script)
    assert done.returncode == 0, done.err
