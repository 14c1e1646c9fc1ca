"""Work space that does not grow, and keys and values that stay where they are."""

from pathlib import Path

import pytest
import torch

from attn_cli.attention.types import AttentionInputs
from attn_cli.inputs.readers import opened
from attn_cli.inspection.call import Call
from attn_cli.inspection.inspector import inspect
from attn_cli.inspection.options import InspectOptions
from tests.attention.calls import make_call
from tests.cli.process import python
from tests.inputs.files import load, write

MIB = 2**20

# In a process of its own, which nothing else has used memory in; warmed up, since libraries load once.
PROGRAM = """
import sys
from pathlib import Path
import torch
from attn_cli.inspection.inspector import inspect
from tests.attention.calls import make_call

def resident(name):
    return int(Path("/proc/self/status").read_text().split(name)[1].split()[0]) * 1024

def call(length, align):
    return make_call(
        1, 1, queries=length, keys=length, features=64, dtype=torch.float32, causal=align == 0, align=align
    )

torch.set_num_threads(2)
inspect(call(8192, 0))
inputs = call(int(sys.argv[1]), int(sys.argv[2]))
Path("/proc/self/clear_refs").write_text("5")
before = resident("VmRSS:")
found = inspect(inputs)
outputs = sum(x.nbytes for x in (found.output, found.lse))
print(resident("VmHWM:") - before - outputs)
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux tells the peak of the resident set")
@pytest.mark.parametrize(("length", "align"), [(32768, 0), (2048, 10**8), (2048, -(10**8))])
def test_less_than_64_mib_above_inputs_and_outputs(length, align):
    """For a long context, and for places far from the keys."""
    done = python(PROGRAM, str(length), str(align))
    assert done.returncode == 0, done.err
    assert int(done.stdout) < 64 * MIB


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_keys_and_values_of_a_mapped_file_are_not_copied(tmp_path, monkeypatch, dtype):
    monkeypatch.setattr(opened, "COPIED", 0)
    tensors = {name: torch.randn(1, heads, 50, 16).to(dtype) for name, heads in (("q", 4), ("k", 2), ("v", 2))}
    path = write(tmp_path / "qkv.safetensors", tensors)
    inputs = load(path).inputs
    assert isinstance(inputs, AttentionInputs)
    prepared = Call.prepare(inputs).inputs
    for name in "qkv":
        assert getattr(prepared, name).data_ptr() == getattr(inputs, name).data_ptr()
        assert getattr(prepared, name).dtype == dtype
    maps = Path("/proc/self/maps")
    if maps.exists():
        mine = [line.split()[0] for line in maps.read_text().splitlines() if line.endswith(path)]
        ranges = [tuple(int(end, 16) for end in line.split("-")) for line in mine]
        assert all(any(low <= getattr(prepared, name).data_ptr() < high for low, high in ranges) for name in "qkv")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_keys_and_values_are_left_as_they_were(dtype):
    call = make_call(1, 4, 2, queries=90, keys=120, dtype=dtype, causal=True, scale=30.0)
    before = [x.clone() for x in (call.q, call.k, call.v)]
    inspect(call, InspectOptions(block_rows=16, block_keys=32))
    assert all(torch.equal(x, y) for x, y in zip(before, (call.q, call.k, call.v), strict=True))
