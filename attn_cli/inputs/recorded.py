"""What a file says came out of a call: the output and the weights of whoever computed it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from attn_cli.inputs.layout import CUT, FOUR, THREE, TWO, Reading, as_heads, head_shape
from attn_cli.inputs.names import OUTPUT, WEIGHTS
from attn_cli.inputs.readers.base import TensorFile
from attn_cli.inputs.settings import DEFAULT
from attn_cli.inputs.types import Recorded, TensorInfo
from attn_cli.inputs.validation import FLOATS, CallSizes

RANKS = {FOUR: (4,), THREE: (3,), CUT: (2, 3), TWO: (2,)}


@dataclass(frozen=True)
class ReadRecord:
    """What was recorded, and the tensors it was read from; one that does not fit the call has no role."""

    recorded: Recorded
    tensors: tuple[TensorInfo, ...]


def read_recorded(
    file: TensorFile, output: str | None, weights: str | None, sizes: CallSizes, reading: Reading | None
) -> ReadRecord:
    """Read the tensors of these names, where there are any; a tensor that does not fit is left alone.

    Args:
        file: that holds them.
        output: the name of ``(B, Hq, Sq, Dv)``, in the layout of q.
        weights: the name of ``(B, Hq, Sq, Sk)``, or ``(Hq, Sq, Sk)`` of a batch of one.
        sizes: of the whole call.
        reading: the layout of q; None where the call is projected first, then four axes are expected.
    """
    reading = reading or Reading(FOUR, False, sizes.heads, sizes.kv_heads, DEFAULT)
    infos = [None if name is None else file.info(name) for name in (output, weights)]
    used = [
        infos[0] if _is_output(infos[0], sizes, reading) else None,
        infos[1] if _is_weights(infos[1], sizes) else None,
    ]
    tensors = [None if info is None else file.read(info.name) for info in used]
    recorded = Recorded(
        output=None if tensors[0] is None else as_heads(tensors[0], reading, sizes.heads),  # (B, Hq, Sq, Dv)
        weights=None if tensors[1] is None else tensors[1].reshape(sizes.weights_shape),  # (B, Hq, Sq, Sk)
    )
    roles = zip(infos, used, (OUTPUT, WEIGHTS), strict=True)
    said = [replace(info, role=None if one is None else role) for info, one, role in roles if info is not None]
    return ReadRecord(recorded, tuple(said))


def _is_output(info: TensorInfo | None, sizes: CallSizes, reading: Reading) -> bool:
    if info is None or info.dtype not in FLOATS or len(info.shape) not in RANKS[reading.kind]:
        return False
    shape = (sizes.batch, sizes.heads, sizes.queries, sizes.value_dim)
    whole = reading.kind != CUT or info.shape[-1] == sizes.heads * sizes.value_dim
    return whole and head_shape(info.shape, reading, sizes.heads) == shape


def _is_weights(info: TensorInfo | None, sizes: CallSizes) -> bool:
    if info is None or info.dtype not in FLOATS:
        return False
    shape = sizes.weights_shape
    return info.shape == shape or (sizes.batch == 1 and info.shape == shape[1:])
