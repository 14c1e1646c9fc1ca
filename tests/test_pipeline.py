"""A call from its file to its result: what is placed, selected, kept and found."""

import sys

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from attn_cli.attention.selection import Selection
from attn_cli.inputs.options import ReadOptions
from attn_cli.inputs.source import open_calls
from attn_cli.inspection.options import InspectOptions
from attn_cli.pipeline import RunOptions, place, run_call
from tests.cli.process import python

CPU = torch.device("cpu")


def load(path, **options):
    with open_calls(ReadOptions(file=str(path), **options)) as source:
        return source.plans[0].load()


def result(path, weights=False, **options):
    return run_call(load(path, **options), RunOptions(device="cpu", inspect=InspectOptions(weights=weights)), 0.0)


def heads(queries=5, keys=5, dtype=torch.float32, **more):
    generator = torch.Generator().manual_seed(0)
    sizes = {"q": queries, "k": keys, "v": keys}
    drawn = {name: torch.randn(2, 4, size, 8, generator=generator).to(dtype) for name, size in sizes.items()}
    return {**drawn, **more}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_wide_bias_is_not_rounded_to_half_inputs(tmp_path, dtype):
    """1000.25 is no bfloat16, −1e9 no float16: the weights must be those of the bias in the file."""
    bias = 1000 + torch.rand(1, 1, 5, 5, generator=torch.Generator().manual_seed(1))
    bias[..., 2, :] = -1e9
    tensors = heads(dtype=dtype, bias=bias)
    save_file(tensors, tmp_path / "x.safetensors")
    found = result(tmp_path / "x.safetensors", weights=True)
    q, k = tensors["q"].double(), tensors["k"].double()
    exact = torch.softmax(q @ k.mT / 8**0.5 + bias.double(), -1)
    exact[:, :, 2] = 1 / 5  # beside −1e9 nothing is left of a logit in float32
    torch.testing.assert_close(found.inspection.weights.double(), exact, atol=1e-4, rtol=0)
    assert "ATTN003" not in {finding.code for finding in found.inspection.findings}


@pytest.mark.parametrize(
    ("queries", "keys", "selected"), [(4, 8, (3,)), (12, 4, (8, 9, 10, 11)), (4, 8, (0, 2)), (8, 4, None)]
)
def test_the_alignment_note_counts_what_the_other_reading_changes(tmp_path, queries, keys, selected):
    save_file(heads(queries, keys), tmp_path / "x.safetensors")
    found = result(tmp_path / "x.safetensors", causal=True, queries=selected)
    rows = np.arange(queries) if selected is None else np.array(selected)
    below, above = (np.arange(keys) <= rows[:, None] + offset for offset in (keys - queries, 0))
    (note,) = [finding for finding in found.inspection.findings if finding.code == "ATTN004"]
    assert note.count == 2 * (below ^ above).sum()
    assert note.place.query == rows[(below ^ above).any(1)][0]


def test_selected_batch_items_of_a_module_keep_their_numbers(tmp_path):
    module = torch.nn.MultiheadAttention(16, 4, batch_first=True)
    x = torch.randn(3, 6, 16, generator=torch.Generator().manual_seed(0))
    save_file(
        {"hidden_states": x, "valid_lens": torch.tensor([6, 3, 2]), **module.state_dict()}, tmp_path / "x.safetensors"
    )
    options = {"num_heads": 4, "batch": (2, 0), "heads": (3,)}
    inputs = place(load(tmp_path / "x.safetensors", **options), CPU)
    whole = place(load(tmp_path / "x.safetensors", num_heads=4), CPU)
    assert inputs.index.batch == (2, 0)
    assert inputs.index.total_batch == 3
    torch.testing.assert_close(inputs.q, whole.q[[2, 0]][:, [3]])
    assert inputs.rules.mask.valid_lens.tolist() == [2, 6]


def test_float8_is_converted_after_the_selection(tmp_path):
    tensors = heads(dtype=torch.float8_e4m3fn)
    save_file(tensors, tmp_path / "x.safetensors")
    call = load(tmp_path / "x.safetensors", heads=(3, 1), queries=(4, 0))
    assert call.inputs.q.dtype == torch.float8_e4m3fn
    inputs = place(call, CPU)
    assert inputs.q.dtype == torch.float32
    assert torch.equal(inputs.q, tensors["q"].float()[:, [3, 1]][:, :, [4, 0]])


PEAK = """
import resource, sys
from attn_cli.main import main
main(["run", sys.argv[1], "--head", "0", "--query", "0-3", "--repeat", "1", "--json"])
sys.stderr.write(str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in KiB on Linux alone")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float8_e4m3fn])
def test_a_large_file_is_read_only_where_it_is_looked_at(tmp_path, dtype):
    large = {name: torch.zeros(1, 64 // dtype.itemsize, 8192, 128).to(dtype) for name in "qkv"}  # 64 MiB each
    small = {name: x[:, :1].clone() for name, x in large.items()}
    peaks = []
    for name, tensors in (("large", large), ("small", small)):
        save_file(tensors, tmp_path / f"{name}.safetensors")
        peaks.append(int(python(PEAK, str(tmp_path / f"{name}.safetensors")).err))
    assert peaks[0] - peaks[1] < 64 * 1024


def test_a_result_holds_no_tensor_of_the_inputs(tmp_path):
    save_file(heads(), tmp_path / "x.safetensors")
    found = result(tmp_path / "x.safetensors")
    assert not hasattr(found.call, "inputs")
    assert found.outputs is None
    assert found.call.selection == Selection()


@pytest.mark.skipif(not torch.__version__.startswith("2.13"), reason="docs/explanation/trust.md speaks of PyTorch 2.13")
def test_the_kernel_that_hides_a_nan_is_named(tmp_path):
    tensors = heads(8, 3)
    tensors["q"][0, 1, 3, 0] = torch.nan
    save_file(tensors, tmp_path / "x.safetensors")
    found = result(tmp_path / "x.safetensors")
    codes = {finding.code: finding for finding in found.inspection.findings}
    assert set(codes) == {"ATTN001", "ATTN002", "ATTN005"}
    assert "flash" in codes["ATTN005"].message
    for finding in codes.values():
        assert (finding.place.batch, finding.place.head, finding.place.query) == (0, 1, 3)
