"""Files as ``attn record`` writes them, made by hand."""

import json

from attn_cli.differences.runner import DiffOptions, diff
from attn_cli.differences.sides import Side
from attn_cli.inputs.names import with_step
from attn_cli.inputs.options import ReadOptions
from tests.inputs.files import heads, write

MODULE = "model.layers.3.self_attn"
SITE = {
    "number": 12, "step": 0, "module": MODULE, "root": "Bert", "function": "scaled_dot_product_attention",
    "caller": "transformers/integrations/sdpa_attention.py:92 in forward", "dropout": 0.0,
}  # fmt: skip


def call(module=MODULE, step=0, metadata=None, **sizes):
    """The tensors and the metadata of one recorded call."""
    prefix = with_step(module, step)
    texts = {"causal": "false", "scale": "0.25", "call": json.dumps(SITE | {"step": step, "module": module})}
    tensors = heads(prefix=f"{prefix}.", **{"seed": step, **sizes})
    return tensors, {f"{prefix}.{key}": text for key, text in (texts | (metadata or {})).items()}


def capture(path, *calls):
    tensors, metadata = {}, {"schema": "attn.capture/1", "program": "train.py"}
    for one, texts in calls:
        tensors |= one
        metadata |= texts
    return write(path, tensors, metadata)


def generation(path, steps=(0, 1, 2, 9, 10, 11), modules=(MODULE, "model.layers.10.self_attn"), **options):
    """A prompt of 7 keys, then one key more a step."""
    calls = [
        call(module, step, batch=1, queries=1 if step else 7, keys=7 + step, **options)
        for step in reversed(steps)
        for module in modules
    ]
    return capture(path, *calls)


def compared(left, right, **options):
    sides = (Side(ReadOptions(file=file, **options)) for file in (left, right))
    return diff(DiffOptions(*sides, is_one_input=False))
