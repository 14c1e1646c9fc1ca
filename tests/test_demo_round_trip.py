"""``attn demo --save`` writes a file that ``attn run`` reads back to the same result."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from attn_cli.inputs.options import ReadOptions
from attn_cli.inputs.source import open_calls
from attn_cli.main import main
from attn_cli.reporters.saved_call import save_call


def data(capsys, *arguments):
    assert main([*arguments, "--json", "--weights"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--bias", "--seed", "7"],
        ["--causal", "--queries", "3", "--keys", "7"],
        ["--causal", "--causal-align", "top-left", "--queries", "3", "--keys", "7"],
        ["--causal", "--causal-align", "2", "--queries", "3", "--keys", "7"],
        ["--window", "2,0", "--queries", "6"],
        ["--causal-align", "3"],
        ["--causal-align", "top-left"],
        ["--causal-align", "bottom-right", "--causal", "--queries", "3"],
        ["--heads", "4", "--kv-heads", "2", "--valid-lens", "random"],
        ["--valid-lens", "1,2,3,4;6,0,6,2"],
        ["--dtype", "bfloat16"],
        ["--dtype", "float64"],
    ],
    ids=" ".join,
)
def test_run_gets_the_demos_numbers(options, capsys, tmp_path):
    path = str(tmp_path / "demo.safetensors")
    drawn = data(capsys, "demo", *options, "--save", path)
    read = data(capsys, "run", path)
    for key in ("heads", "weights", "shapes", "output", "dtype", "backend", "verification"):
        assert read["data"][key] == drawn["data"][key], key
    assert read["findings"] == drawn["findings"]


def test_projected_heads_are_written_and_read_back_as_well(tmp_path):
    generator = torch.Generator().manual_seed(0)
    tensors = {name: torch.randn(2, heads, 5, 8, generator=generator) for name, heads in (("q", 4), ("k", 2), ("v", 2))}
    tensors |= {"valid_lens": torch.tensor([5, 3]), "sinks": torch.randn(4), "W_o.weight": torch.randn(6, 32)}
    save_file(tensors, tmp_path / "in.safetensors", {"causal": "true", "scale": "0.5"})
    first = load(tmp_path / "in.safetensors")
    save_call(first, str(tmp_path / "out.safetensors"))
    second = load(tmp_path / "out.safetensors")
    for name in tensors:
        assert torch.equal(load_file(tmp_path / "out.safetensors")[name], tensors[name])
    assert (second.inputs.scale, second.inputs.rules.mask.causal) == (0.5, True)


def load(path):
    with open_calls(ReadOptions(file=str(path))) as source:
        return source.plans[0].load()


def test_the_same_seed_gives_the_same_numbers(capsys):
    first, second = (data(capsys, "demo", "--seed", "3")["data"]["heads"] for _ in range(2))
    assert first == second


def test_steps_show_every_step_of_both_notebooks(capsys):
    assert main(["demo", "--steps"]) == 0
    shown = capsys.readouterr().out
    order = [
        "Queries come in", "Linear Q", "Linear K", "Linear V", "Split heads of Q", "scores = Q · Kᵀ", "scores / √D",
        "Mask", "Softmax", "output = weights · V", "Combine heads", "Output projection", "Heads", "Metrics",
    ]  # fmt: skip
    places = [shown.index(words) for words in order]
    assert places == sorted(places)
    assert "b_q" in shown
    assert "(2, 5, 4, 20)" in shown
