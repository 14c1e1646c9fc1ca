"""Whether the parts of a call fit each other. Sizes are checked before numbers are read."""

from __future__ import annotations

from dataclasses import dataclass

from attn_cli.errors import InputError, in_file
from attn_cli.inputs.text import describe, shown
from attn_cli.inputs.types import TensorInfo

FLOATS = ("float64", "float32", "float16", "bfloat16")


@dataclass(frozen=True)
class CallSizes:
    """The sizes of one whole call.

    Attributes:
        batch: B.
        heads, kv_heads: Hq and Hkv.
        queries, keys: Sq and Sk.
        head_dim, value_dim: D and Dv.
    """

    batch: int
    heads: int
    kv_heads: int
    queries: int
    keys: int
    head_dim: int
    value_dim: int

    @property
    def weights_shape(self) -> tuple[int, int, int, int]:
        """``(B, Hq, Sq, Sk)``."""
        return self.batch, self.heads, self.queries, self.keys


def is_float8(dtype: str) -> bool:
    """True for the eight-bit floats, which are stored but not computed with."""
    return dtype.startswith("float8_")


def check_floating(path: str, info: TensorInfo) -> None:
    """Refuse whole numbers, booleans and complex numbers where attention needs reals.

    Raises:
        InputError: naming the tensor.
    """
    if info.dtype not in FLOATS and not is_float8(info.dtype):
        raise in_file(path, describe(info), "expected float64, float32, bfloat16, float16 or float8 numbers")


def check_not_empty(path: str, info: TensorInfo) -> None:
    """Refuse a tensor with an axis of size 0."""
    if 0 in info.shape:
        raise in_file(path, describe(info), "expected no axis of size 0")


def differs(path: str, info: TensorInfo, what: str, found: int, other: TensorInfo, expected: int) -> InputError:
    """The refusal of a size that is not the one another tensor has."""
    return in_file(path, f"{describe(info)}: {what} {found}", f"expected {expected}, as {describe(other)}")


def check_groups(path: str, q_name: str, heads: int, kv_heads: int, hint: str | None = None) -> None:
    """Refuse query heads that cannot share the key/value heads evenly."""
    if heads % kv_heads:
        found = f"{shown(q_name)} has {heads} query heads for {kv_heads} key/value heads"
        raise in_file(path, found, "expected a multiple of them", hint)


@dataclass(frozen=True)
class LayerShape:
    """A linear layer before its numbers are read.

    Attributes:
        info: the weight as a message describes it, ``(out_features, in_features)`` as in ``torch.nn.Linear``.
        bias: the shape of the bias, or None.
    """

    info: TensorInfo
    bias: tuple[int, ...] | None = None


def check_in_features(path: str, layer: LayerShape, features: int, source: str) -> None:
    """Refuse a layer that does not take ``features`` inputs.

    Args:
        path: of the layer's file.
        layer: the layer.
        features: how many it has to take.
        source: where they come from, for the message.
    """
    found = layer.info.shape[1]
    if found != features:
        raise in_file(path, f"{describe(layer.info)}: {found} input features", f"expected {features}, {source}")


def check_bias(path: str, layer: LayerShape) -> None:
    """Refuse a bias that is not one number an output feature."""
    features = layer.info.shape[0]
    if layer.bias is not None and layer.bias != (features,):
        raise in_file(path, f"{describe(layer.info)} with a bias of shape {layer.bias}", f"expected ({features},)")


def cut(path: str, layer: LayerShape, heads: int, what: str) -> int:
    """Features a head of a projection with ``heads`` of them.

    Raises:
        InputError: where its output features cannot be cut evenly.
    """
    features = layer.info.shape[0]
    if features % heads:
        raise in_file(
            path,
            f"{describe(layer.info)}: {features} output features",
            f"expected a multiple of {heads}, the {what}",
            "--num-heads and --num-kv-heads say how many there are",
        )
    return features // heads
