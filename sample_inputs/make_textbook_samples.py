"""Writes the two textbook samples of this folder. Run it to make them again: the numbers are the same everywhere."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import torch

from attn_cli.attention.types import ModuleInputs
from attn_cli.inputs.draws import DrawOptions, draw_call
from attn_cli.inputs.types import LoadedCall
from attn_cli.reporters.saved_call import save_call

FOLDER = Path(__file__).parent


def valid_lengths() -> LoadedCall:
    """d2l's example: 4 queries of ones, 6 keys and values of ones, 100 hiddens, 5 heads, valid lengths 3 and 2."""
    call = draw_call(DrawOptions(seed=11))
    assert isinstance(call.inputs, ModuleInputs)
    keys = torch.ones_like(call.inputs.keys)
    inputs = replace(call.inputs, queries=torch.ones_like(call.inputs.queries), keys=keys, values=keys)
    return replace(call, inputs=inputs)


def self_attention() -> LoadedCall:
    """Step by step: one sentence of 6 words attends to itself, 16 hiddens, 2 heads, projections with a bias."""
    drawing = DrawOptions(batch=1, heads=2, num_hiddens=16, queries=6, keys=6, seed=3, bias=True)
    call = draw_call(drawing)
    assert isinstance(call.inputs, ModuleInputs)
    words = call.inputs.queries
    return replace(call, inputs=replace(call.inputs, keys=words, values=words))


if __name__ == "__main__":
    save_call(valid_lengths(), str(FOLDER / "textbook-valid-lengths.safetensors"))
    tokens = json.dumps([["the", "cat", "sat", "on", "the", "mat"]])
    save_call(self_attention(), str(FOLDER / "textbook-self-attention.safetensors"), {"tokens": tokens})
