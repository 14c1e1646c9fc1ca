"""A call written as a file that ``attn run`` reads back to the same result."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from attn_cli.attention.types import AttentionInputs, LinearWeights, ModuleInputs
from attn_cli.inputs.types import LoadedCall
from attn_cli.reporters.captures.rules import rule_metadata, rule_tensors
from attn_cli.reporters.saved import write_tensors


def save_call(call: LoadedCall, path: str, metadata: Mapping[str, str] | None = None) -> None:
    """Write the tensors of ``call`` and, as metadata, the rules that are no tensors.

    Args:
        call: as it was loaded or drawn.
        path: a ``.safetensors`` file; it appears whole or not at all.
        metadata: more of it, such as ``tokens``.

    Raises:
        ResourceError: where the file cannot be written.
    """
    inputs = call.inputs
    tensors = _module_tensors(inputs) if isinstance(inputs, ModuleInputs) else _heads_tensors(inputs)
    tensors.update(rule_tensors(inputs.rules))
    texts = {
        **rule_metadata(inputs.rules, call.align, is_chosen=call.align_chosen),
        **_head_counts(inputs),
        **(metadata or {}),
    }
    write_tensors(tensors, path, texts)


def _module_tensors(inputs: ModuleInputs) -> dict[str, Tensor]:
    tensors = {"queries": inputs.queries, "keys": inputs.keys, "values": inputs.values}
    for name, layer in (("W_q", inputs.W_q), ("W_k", inputs.W_k), ("W_v", inputs.W_v), ("W_o", inputs.W_o)):
        tensors.update(_layer_tensors(name, layer))
    return tensors


def _heads_tensors(inputs: AttentionInputs) -> dict[str, Tensor]:
    return {"q": inputs.q, "k": inputs.k, "v": inputs.v, **_layer_tensors("W_o", inputs.output_projection)}


def _layer_tensors(name: str, layer: LinearWeights | None) -> dict[str, Tensor]:
    if layer is None:
        return {}
    tensors = {f"{name}.weight": layer.weight}
    return tensors if layer.bias is None else {**tensors, f"{name}.bias": layer.bias}


def _head_counts(inputs: AttentionInputs | ModuleInputs) -> dict[str, str]:
    if isinstance(inputs, AttentionInputs):
        return {"num_heads": str(inputs.q.shape[1]), "num_kv_heads": str(inputs.k.shape[1])}
    return {"num_heads": str(inputs.num_heads), "num_kv_heads": str(inputs.num_kv_heads)}
