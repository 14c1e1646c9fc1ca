"""Sound calls give no finding, whatever their mask, their dtype and the part that is selected."""

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attn_cli.attention.selection import Selection
from attn_cli.checks import CHECKS
from attn_cli.checks.exact import pieces_of
from attn_cli.checks.runner import check_call
from attn_cli.inputs.options import ReadOptions
from attn_cli.inputs.source import open_calls
from attn_cli.pipeline import RunOptions
from tests.checks.cases import case
from tests.checks.healthy import HEALTHY, eager

SAMPLES = Path(__file__).parents[2] / "sample_inputs"
CPU = RunOptions(device="cpu")


@pytest.mark.parametrize("name", HEALTHY)
@pytest.mark.parametrize("dtype", [None, "bfloat16", "float16", "float64"])
def test_a_sound_call_has_no_finding(name, dtype):
    assert check_call(HEALTHY[name](), CHECKS, RunOptions(device="cpu", dtype=dtype)).findings == ()


@pytest.mark.parametrize("softcap", [None, 50.0])
@pytest.mark.parametrize("constant", [-1e9, -1e4, "lowest"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_what_eager_attention_gives_padded_on_the_left_is_sound(dtype, constant, softcap):
    """Rows whose keys a finite constant hides, all of them, hold no more of the logits than its rounding leaves."""
    lowest = torch.finfo(dtype).min
    call = eager(dtype, lowest if constant == "lowest" else max(constant, lowest), softcap)
    found = check_call(call, CHECKS, CPU).findings
    assert [(one.code, one.severity) for one in found] == [("ATTN010", "info")]


@pytest.mark.parametrize("dtype", [None, "bfloat16", "float16"])
def test_the_capture_of_a_real_model_has_no_finding(dtype):
    with open_calls(ReadOptions(file=str(SAMPLES / "minilm.safetensors"))) as source:
        calls = [plan.load() for plan in source.plans]
    assert len(calls) == 6
    assert [check_call(call, CHECKS, RunOptions(device="cpu", dtype=dtype)).findings for call in calls] == [()] * 6


ABOUT_MASKS = [check for check in CHECKS if check.rule.code in ("ATTN008", "ATTN009", "ATTN011", "ATTN013", "ATTN020")]
SIZES = st.integers(3, 24)


@settings(deadline=None, max_examples=60)
@given(SIZES, SIZES, st.integers(0, 2**32 - 1), st.booleans(), st.booleans(), st.booleans(), st.booleans())
def test_random_padding_and_causal_order_are_never_suspect(queries, keys, seed, left, causal, additive, dense):
    """As keep mask or additive mask, broadcast or spelled out; one item is as long as the keys, the others are not."""
    generator = torch.Generator().manual_seed(seed)
    batch = int(torch.randint(2, 5, (), generator=generator))
    lengths = torch.randint(1, keys + 1, (batch,), generator=generator)
    lengths[0] = keys
    keep = (torch.arange(keys) < lengths[:, None])[:, None, None]
    keep = keep.flip(-1) if left else keep
    if dense:
        keep = keep.expand(batch, 1, queries, keys)
    if causal:
        keep = keep & torch.ones(queries, keys).tril(keys - queries).bool()
    rules = {"bias": torch.zeros(keep.shape).masked_fill(~keep, -torch.inf)} if additive else {"keep": keep}
    call = case(batch, 3, queries, keys, 4, seed=seed % 1000, **rules)
    assert check_call(call, ABOUT_MASKS, CPU).findings == ()


@settings(deadline=None, max_examples=40)
@given(SIZES, SIZES, st.integers(0, 2**32 - 1), st.sampled_from([0.5, 0.8]))
def test_random_cells_are_never_suspect(queries, keys, seed, density):
    keep = torch.rand(2, 1, queries, keys, generator=torch.Generator().manual_seed(seed)) < density
    keep[..., 0, :] = keep[..., 0] = True
    assert check_call(case(2, 3, queries, keys, 4, keep=keep), ABOUT_MASKS, CPU).findings == ()


def test_a_selection_of_a_sound_call_has_no_finding():
    part = Selection(batch=(2, 1), heads=(3, 0), queries=(1, 5, 20))
    for name in ("causal keep mask and padding on the right", "keep mask of padding on the left", "token ids"):
        call = HEALTHY[name]()
        assert check_call(type(call)(**{**vars(call), "selection": part}), CHECKS, CPU).findings == ()


def test_a_small_call_is_checked_in_one_thread_and_computed_once_and_the_threads_come_back():
    before, seen, computed = torch.get_num_threads(), [], []

    class Counting:
        rule = CHECKS[0].rule

        def find(self, evidence):
            seen.append(torch.get_num_threads())
            computed.append([pieces_of(evidence, rows) for rows in (None, range(8))])
            return ()

    torch.set_num_threads(2)
    try:
        check_call(case(), (Counting(),), CPU)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert seen == [1]
    ((first, second),) = computed
    assert first is second
    assert len(first) == 2 * 3
