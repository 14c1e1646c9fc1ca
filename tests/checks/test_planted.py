"""One NaN or infinity in q, k or v is named with its place, every time, and nothing else claims another cause."""

import contextlib
import io
import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from attn_cli.checks import CHECKS
from attn_cli.checks.runner import check_call
from attn_cli.inspection.types import Place
from attn_cli.main import main
from attn_cli.pipeline import RunOptions
from tests.checks.cases import case
from tests.cli.process import ROOT

BROKEN = st.sampled_from([math.nan, math.inf, -math.inf])
CONSEQUENCES = {"ATTN002", "ATTN005"}
MASKS = {
    "none": {},
    "causal": {"causal": True},
    "lengths": {"valid_lens": torch.tensor([8, 5])},
    "padding left": {"keep": (torch.arange(8) >= torch.tensor([0, 3])[:, None])[:, None, None]},
    "grouped": {"heads": 4, "kv_heads": 2},
}


def place_of(name, batch, head, row, feature):
    return Place(name, batch, head, *((row, None) if name == "q" else (None, row)), feature)


@settings(deadline=None, max_examples=60)
@given(st.data(), st.sampled_from("qkv"), BROKEN, st.sampled_from(sorted(MASKS)), st.sampled_from(["auto", "math"]))
def test_the_place_is_named_and_no_other_cause(data, name, value, mask, backend):
    call = case(**MASKS[mask])
    x = getattr(call.inputs, name)
    at = tuple(data.draw(st.integers(0, size - 1)) for size in x.shape)
    x[at] = value
    found = check_call(call, CHECKS, RunOptions(device="cpu", backend=backend)).findings
    (source,) = [finding for finding in found if finding.code == "ATTN001"]
    assert (source.severity, source.count, source.place) == ("error", 1, place_of(name, *at))
    assert f"in feature {at[3]}" in source.message
    assert {finding.code for finding in found} - {"ATTN001"} <= CONSEQUENCES
    for finding in found:
        if finding.code == "ATTN002":
            assert f"; in the first, {name} holds" in finding.message


def checked(path):
    """What the command prints for a file, and how it exits."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        code = main(["check", str(path), "--device", "cpu", "--json"])
    return code, json.loads(printed.getvalue())


@pytest.fixture(scope="module")
def capture():
    return load_file(ROOT / "sample_inputs" / "minilm.safetensors")


@settings(deadline=None, max_examples=6)
@given(st.data(), st.integers(0, 5), st.sampled_from("qkv"), st.sampled_from([math.nan, math.inf]))
def test_the_command_names_the_place_in_a_real_capture(capture, tmp_path_factory, data, layer, name, value):
    whole = f"layers.{layer}.{name}"
    at = tuple(data.draw(st.integers(0, size - 1)) for size in capture[whole].shape)
    x = capture[whole].clone()
    x[at] = value
    path = tmp_path_factory.mktemp("planted") / "x.safetensors"
    save_file({**capture, whole: x}, path)
    code, document = checked(path)
    assert code == 1
    (source,) = [finding for finding in document["findings"] if finding["code"] == "ATTN001"]
    axes = ("batch", "head", "query" if name == "q" else "key", "feature")
    assert tuple(source[axis] for axis in axes) == at
    assert (source["tensor"], source["layer"]) == (name, layer)
    assert {finding["code"] for finding in document["findings"]} - {"ATTN001"} <= CONSEQUENCES
