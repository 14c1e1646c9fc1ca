"""Projection weights out of a file, whatever their style, in the orientation of ``torch.nn.Linear``."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from attn_cli.attention.types import LinearWeights
from attn_cli.errors import in_file
from attn_cli.inputs.projections import LayerNames, Projections
from attn_cli.inputs.readers.base import TensorFile
from attn_cli.inputs.text import describe, shown
from attn_cli.inputs.types import TensorInfo
from attn_cli.inputs.validation import (
    CallSizes,
    LayerShape,
    check_bias,
    check_floating,
    check_groups,
    check_in_features,
    check_not_empty,
    cut,
    is_float8,
)


@dataclass(frozen=True)
class InputShapes:
    """What leads from hidden states to heads, before its numbers are read."""

    W_q: LayerShape
    W_k: LayerShape
    W_v: LayerShape


@dataclass(frozen=True)
class ModuleSizes:
    """What is known of a call of the whole module before its weights are read.

    Attributes:
        batch, queries, keys: B, Sq and Sk.
        heads: Hq.
        kv_heads: Hkv, or None where W_k's size has to tell.
        features: of queries, keys and values.
    """

    batch: int
    queries: int
    keys: int
    heads: int
    kv_heads: int | None
    features: tuple[int, int, int]


def judge_inputs(file: TensorFile, found: Projections, sizes: ModuleSizes) -> InputShapes:
    """W_q, W_k and W_v by their shapes; parts of one matrix where they are fused.

    Raises:
        InputError: where the style is refused or a tensor is not what its name promises.
    """
    if found.refusal is not None:
        hint = "save it as W_q, W_k and W_v"
        raise in_file(
            file.path, f"{shown(found.names[0])} cannot be used: {found.refusal}", "expected separate projections", hint
        )
    if found.fused is not None:
        return _judge_fused(file, found, found.fused, sizes)
    separate = _separate(found)
    layers = [_judge_layer(file, found, names) for names in separate]
    if _share_a_bias(separate):
        layers = _judge_shared_bias(file, layers)
    for layer, features in zip(layers, sizes.features, strict=True):
        check_in_features(file.path, layer, features, "the features of what it projects")
    return InputShapes(*layers)


def read_inputs(
    file: TensorFile, found: Projections, shapes: InputShapes
) -> tuple[LinearWeights, LinearWeights, LinearWeights]:
    """W_q, W_k and W_v; views of one matrix where they are fused.

    Args:
        file: that holds them.
        found: their names.
        shapes: what :func:`judge_inputs` gave.
    """
    rows = [layer.info.shape[0] for layer in (shapes.W_q, shapes.W_k, shapes.W_v)]
    if found.fused is not None:
        fused = _read_layer(file, found.fused, is_turned=_is_turned(file, found))
        weights, bias = torch.split(fused.weight, rows), fused.bias
        biases = (None, None, None) if bias is None else torch.split(bias, rows)
        q, k, v = (LinearWeights(*both) for both in zip(weights, biases, strict=True))
        return q, k, v
    separate = _separate(found)
    q, k, v = (_read_layer(file, names) for names in separate)
    if q.bias is not None and _share_a_bias(separate):
        parts = zip((q, k, v), torch.split(q.bias, rows), strict=True)
        q, k, v = (LinearWeights(layer.weight, part) for layer, part in parts)
    return q, k, v


def judge_output(file: TensorFile, found: Projections, heads: int, value_dim: int) -> None:
    """Refuse a W_o, where there is one, by its shape.

    Raises:
        InputError: where it does not take the heads side by side.
    """
    if found.o is None:
        return
    layer = _judge_layer(file, found, found.o, is_turned=_is_turned(file, found))
    check_in_features(file.path, layer, heads * value_dim, f"{heads} heads of {value_dim}")
    check_bias(file.path, layer)


def read_output(file: TensorFile, found: Projections) -> LinearWeights | None:
    """W_o, which :func:`judge_output` let pass, or None where there is none."""
    return None if found.o is None else _read_layer(file, found.o, is_turned=_is_turned(file, found))


def used_infos(file: TensorFile, found: Projections) -> tuple[TensorInfo, ...]:
    """Every tensor of a set of weights with its role."""
    layers = (("W_q", found.q), ("W_k", found.k), ("W_v", found.v), ("W_q, W_k, W_v", found.fused), ("W_o", found.o))
    roles: dict[str, str] = {}
    for role, names in layers:
        if names is not None:
            roles[names.weight] = f"{role}.weight"
            if names.bias is not None:
                shared = "W_q, W_k, W_v" if names.bias in roles else role
                roles[names.bias] = f"{shared}.bias"
    return tuple(replace(file.info(name), role=role) for name, role in roles.items())


def module_sizes(path: str, layers: InputShapes, sizes: ModuleSizes) -> CallSizes:
    """The sizes of the heads that the projections give.

    Raises:
        InputError: where features cannot be cut into heads, or q's and k's differ.
    """
    head_dim = cut(path, layers.W_q, sizes.heads, "query heads")
    kv_heads = sizes.kv_heads
    if kv_heads is None:
        kv_heads = max(1, layers.W_k.info.shape[0] // head_dim)
    found = cut(path, layers.W_k, kv_heads, "key/value heads")
    if found != head_dim:
        expected = f"expected {head_dim}, as {describe(layers.W_q.info)}"
        raise in_file(
            path, f"{describe(layers.W_k.info)}: head dimension {found}", expected, "--num-kv-heads says how many heads"
        )
    value_dim = cut(path, layers.W_v, kv_heads, "key/value heads")
    check_groups(path, layers.W_q.info.name, sizes.heads, kv_heads)
    for layer in (layers.W_q, layers.W_k, layers.W_v):
        check_bias(path, layer)
    return CallSizes(sizes.batch, sizes.heads, kv_heads, sizes.queries, sizes.keys, head_dim, value_dim)


def _separate(found: Projections) -> list[LayerNames]:
    return [names for names in (found.q, found.k, found.v) if names is not None]


def _share_a_bias(layers: list[LayerNames]) -> bool:
    """Whether these have the one bias of ``nn.MultiheadAttention``, all three parts in one tensor."""
    return layers[0].bias is not None and layers[0].bias == layers[1].bias


def _judge_layer(file: TensorFile, found: Projections, names: LayerNames, *, is_turned: bool = False) -> LayerShape:
    info = _judge(file, found, names.weight, rank=2)
    bias = None if names.bias is None else _judge(file, found, names.bias, rank=1).shape
    return LayerShape(replace(info, shape=info.shape[::-1]) if is_turned else info, bias)


def _judge(file: TensorFile, found: Projections, name: str, rank: int) -> TensorInfo:
    info = file.info(name)
    check_floating(file.path, info)
    check_not_empty(file.path, info)
    if len(info.shape) != rank:
        expected = "expected (out_features, in_features)" if rank == 2 else "expected (out_features,)"
        raise in_file(file.path, describe(info), expected)
    if is_float8(info.dtype):
        _check_unscaled(file.path, name, found.scales.get(name.lower()))
    return info


def _read_layer(file: TensorFile, names: LayerNames, *, is_turned: bool = False) -> LinearWeights:
    weight = file.read(names.weight)
    bias = None if names.bias is None else file.read(names.bias)
    return LinearWeights(weight.mT if is_turned else weight, bias)


def _check_unscaled(path: str, name: str, scale: str | None) -> None:
    """Refuse float8 weights that mean nothing without a scale stored beside them."""
    if scale is not None:
        raise in_file(
            path,
            f"{shown(name)} is quantized, with {shown(scale)}",
            "expected weights that can be used as they are",
            "save them multiplied by their scale, in bfloat16 or float32",
        )


def _is_turned(file: TensorFile, found: Projections) -> bool:
    """True of a ``Conv1D``'s weights, (in, out).

    A ``c_attn`` may be a plain linear layer after all (nanoGPT's): (3·E, E) instead of (E, 3·E).
    """
    if not found.is_transposed or found.fused is None:
        return found.is_transposed
    shape = file.info(found.fused.weight).shape
    return not (len(shape) == 2 and shape[0] > shape[1])


def _judge_fused(file: TensorFile, found: Projections, names: LayerNames, sizes: ModuleSizes) -> InputShapes:
    """Rows of q, then k, then v: Hq·D, Hkv·D and Hkv·D of them."""
    fused = _judge_layer(file, found, names, is_turned=_is_turned(file, found))
    if len(set(sizes.features)) > 1:
        found_sizes = f"{shown(names.weight)} projects queries, keys and values of {sizes.features} features"
        raise in_file(file.path, found_sizes, "expected one number of features for all three")
    check_in_features(file.path, fused, sizes.features[0], "the features of what it projects")
    check_bias(file.path, fused)
    kv_heads = sizes.heads if sizes.kv_heads is None else sizes.kv_heads
    head_dim = cut(
        file.path, fused, sizes.heads + 2 * kv_heads, f"heads of q, k and v ({sizes.heads}, {kv_heads}, {kv_heads})"
    )
    parts = (
        LayerShape(
            replace(fused.info, shape=(heads * head_dim, fused.info.shape[1])),
            None if fused.bias is None else (heads * head_dim,),
        )
        for heads in (sizes.heads, kv_heads, kv_heads)
    )
    return InputShapes(*parts)


def _judge_shared_bias(file: TensorFile, layers: list[LayerShape]) -> list[LayerShape]:
    """The layers with a part each of the one bias of ``nn.MultiheadAttention``."""
    rows = [layer.info.shape[0] for layer in layers]
    if layers[0].bias != (sum(rows),):
        found = f"in_proj_bias beside {shown(layers[0].info.name)} has shape {layers[0].bias}"
        raise in_file(file.path, found, f"expected ({sum(rows)},)")
    return [replace(layer, bias=layer.info.shape[:1]) for layer in layers]
