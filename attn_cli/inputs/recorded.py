"""What a file says came out of a call: the output and the weights of whoever computed it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from attn_cli.inputs.layout import CUT, FOUR, THREE, TWO, Reading, as_heads, head_shape
from attn_cli.inputs.names import OUTPUT, WEIGHTS
from attn_cli.inputs.readers.base import TensorFile
from attn_cli.inputs.settings import DEFAULT, FILE
from attn_cli.inputs.types import Convention, Recorded, TensorInfo
from attn_cli.inputs.validation import FLOATS, CallSizes, is_float8

RANKS = {FOUR: (4,), THREE: (3,), CUT: (2, 3), TWO: (2,)}
LAYOUTS = ((FOUR, False), (FOUR, True), (THREE, False), (THREE, True), (CUT, False))  # kind, sequence first


@dataclass(frozen=True)
class ReadRecord:
    """What was recorded, and the tensors it was read from; one that does not fit the call has no role."""

    recorded: Recorded
    tensors: tuple[TensorInfo, ...]
    conventions: tuple[Convention, ...] = ()


def read_recorded(
    file: TensorFile,
    output: str | None,
    weights: str | None,
    sizes: CallSizes,
    reading: Reading | None,
    *,
    is_projected_on: bool = False,
) -> ReadRecord:
    """Read the tensors of these names, where there are any; a tensor that does not fit is left alone.

    Args:
        file: that holds them.
        output: the name of ``(B, Hq, Sq, Dv)``, in the layout of q, or in another where that alone fits.
        weights: the name of ``(B, Hq, Sq, Sk)``, or ``(Hq, Sq, Sk)`` of a batch of one.
        sizes: of the whole call.
        reading: the layout of q; None where the call is projected first.
        is_projected_on: True where the call has an output projection, which may have given any ``(B, Sq, features)``.
    """
    own = reading or Reading(FOUR, False, sizes.heads, sizes.kv_heads, DEFAULT)
    infos = [None if name is None else file.info(name) for name in (output, weights)]
    laid_out = _layout(infos[0], sizes, own, is_projected_on)
    used = [
        None if laid_out is None else infos[0],
        infos[1] if _is_weights(infos[1], sizes) else None,
    ]
    tensors = [None if info is None else file.read(info.name) for info in used]
    recorded = Recorded(
        # (B, Hq, Sq, Dv)
        output=None if tensors[0] is None or laid_out is None else as_heads(tensors[0], laid_out, sizes.heads),
        weights=None if tensors[1] is None else tensors[1].reshape(sizes.weights_shape),  # (B, Hq, Sq, Sk)
    )
    roles = zip(infos, used, (OUTPUT, WEIGHTS), strict=True)
    said = [replace(info, role=None if one is None else role) for info, one, role in roles if info is not None]
    is_told = laid_out is not None and laid_out != own
    told = (Convention("output", laid_out.text, FILE),) if laid_out is not None and is_told else ()
    return ReadRecord(recorded, tuple(said), told)


def _layout(info: TensorInfo | None, sizes: CallSizes, own: Reading, is_projected_on: bool) -> Reading | None:
    """The layout of q where the output fits it, else the first other that it fits, or None."""
    others = (Reading(kind, is_first, sizes.heads, sizes.kv_heads, FILE) for kind, is_first in LAYOUTS)
    possible = (one for one in others if not (is_projected_on and one.kind == CUT))
    return next((one for one in (own, *possible) if _is_output(info, sizes, one)), None)


def _is_output(info: TensorInfo | None, sizes: CallSizes, reading: Reading) -> bool:
    if info is None or not _is_real(info) or len(info.shape) not in RANKS[reading.kind]:
        return False
    shape = (sizes.batch, sizes.heads, sizes.queries, sizes.value_dim)
    whole = reading.kind != CUT or info.shape[-1] == sizes.heads * sizes.value_dim
    return whole and head_shape(info.shape, reading, sizes.heads) == shape


def _is_real(info: TensorInfo) -> bool:
    return info.dtype in FLOATS or is_float8(info.dtype)


def _is_weights(info: TensorInfo | None, sizes: CallSizes) -> bool:
    if info is None or not _is_real(info):
        return False
    shape = sizes.weights_shape
    return info.shape == shape or (sizes.batch == 1 and info.shape == shape[1:])
