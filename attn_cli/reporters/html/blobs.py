"""Numbers as bytes that a page carries: weights in 8 bits for pictures, and one by one as 32-bit floats."""

from __future__ import annotations

import base64
import zlib
from typing import Any

import torch
from torch import Tensor

from attn_cli.inspection.types import WeightWindow

MASKED, NAN = 0, 255
LEVELS = 253
SCALE = f"1 + round({LEVELS}·sqrt(w))"
SIGNED_MIDDLE, SIGNED_HALF = 127.5, 126.5
_RAW = -15  # deflate without a header: what browsers call deflate-raw
Blob = dict[str, Any]


def blob(data: bytes) -> Blob:
    """Bytes as JSON has them: how many, whether they are compressed, and their text.

    They are raw DEFLATE (RFC 1951) in base64, or plain base64 where that is no longer.
    """
    packer = zlib.compressobj(9, zlib.DEFLATED, _RAW)
    packed = packer.compress(data) + packer.flush()
    is_smaller = len(packed) < len(data)
    return {"n": len(data), "z": is_smaller, "b": base64.b64encode(packed if is_smaller else data).decode("ascii")}


def codes(weights: Tensor, visible: Tensor) -> Tensor:
    """Weights in 8 bits, uint8 of their shape: 0 is a masked cell, 255 is NaN, anything else 1 + round(253·√w).

    The square root, since most weights are small: a weight of 1e-5 can still be told from 0.

    Args:
        weights: from 0 to 1, or NaN; what is below or above counts as 0 or 1.
        visible: bool, broadcasts to ``weights``; False where every key is hidden.
    """
    levels = 1 + (LEVELS * weights.double().clamp(0, 1).sqrt()).round()
    levels = torch.where(weights.isnan(), float(NAN), levels)
    return torch.where(visible, levels, float(MASKED)).to(torch.uint8)


def float_blob(numbers: Tensor) -> Blob:
    """Numbers as little-endian 32-bit floats, row by row."""
    return blob(numbers.float().contiguous().numpy().astype("<f4").tobytes())


def signed_code_blob(shares: Tensor) -> Blob:
    """Numbers from −1 to 1 in 8 bits, row by row: 255 is NaN, anything else round(127.5 + 126.5·sign(x)·√|x|)."""
    numbers = shares.double().clamp(-1, 1)
    levels = (SIGNED_MIDDLE + SIGNED_HALF * numbers.sign() * numbers.abs().sqrt()).round()
    return blob(torch.where(numbers.isnan(), float(NAN), levels).to(torch.uint8).contiguous().numpy().tobytes())


def window_blobs(window: WeightWindow) -> tuple[Blob, Blob | None]:
    """A window's weights as floats, and which of its keys are masked, a byte each, or None.

    Without the second the sign bit says that the key is masked, also where the weight is 0 or NaN: a finite mask value
    gives masked keys a weight, so that no number could stand for "masked". Somebody else's weights may be below 0; then
    they are given as they are, beside the second.
    """
    weights, visible = window.weights.float(), window.visible
    if bool((weights[visible] < 0).any()):
        return float_blob(weights), blob((~visible).to(torch.uint8).contiguous().numpy().tobytes())
    weights = weights.abs()
    return float_blob(torch.where(visible, weights, torch.copysign(weights, torch.tensor(-1.0)))), None
