"""The pass of the online softmax over all query rows of an item in one launch of a Triton kernel.

The tiles of :mod:`attn_cli.inspection.stream.online` are the specification, and serve every call that this pass does
not take. The work space is the sums themselves and a few numbers a row.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from attn_cli.attention import torch_compat
from attn_cli.attention.types import dtype_name
from attn_cli.inspection.areas import Area
from attn_cli.inspection.call import Call
from attn_cli.inspection.logits import HIDDEN
from attn_cli.inspection.stream.plan import Plan
from attn_cli.inspection.stream.sums import RowSums

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
LARGEST_HEAD = 256
LEAST = 16  # rows, keys or features of the smallest product
INTERPRETED_BYTES = 2**16  # as small as a GPU's may be
OVERHEAD = 8  # keys that could pass in the time a tile costs besides its own


def supports(call: Call, plan: Plan) -> str | None:
    """Why the kernel cannot take a call, or None where it can."""
    inputs, rules = call.inputs, call.inputs.rules
    reasons = {
        "Triton is not installed": not torch_compat.has_triton(),
        "the tensors are on no CUDA device": call.device.type != "cuda" and not torch_compat.triton_interprets(),
        f"q, k and v are not all of one dtype of {', '.join(map(dtype_name, DTYPES))}": inputs.q.dtype not in DTYPES
        or not inputs.q.dtype == inputs.k.dtype == inputs.v.dtype,
        f"a head has more than {LARGEST_HEAD} features": max(inputs.q.shape[-1], inputs.v.shape[-1]) > LARGEST_HEAD,
        "the sums are kept in float64": call.dtype != torch.float32,
        "there is a bias": rules.bias is not None,
        "there is a keep mask": rules.mask.keep is not None,
        "hidden keys have a finite logit": rules.mask.value is not None,
        "sums over repeated tokens are asked for": call.tokens is not None,
        f"a cell of the pictures has less than {LEAST} keys": plan.key_pool < LEAST,
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


@dataclass(frozen=True)
class Blocks:
    """The sizes of one program.

    Attributes:
        rows, keys: of a tile of scores, powers of two.
        warps: that share a tile.
        stages: tiles of K and V that are on their way at once.
    """

    rows: int
    keys: int
    warps: int
    stages: int

    def shared_bytes(self, features: int, channels: int, itemsize: int) -> int:
        """About what a program keeps in shared memory: Q, the tiles on their way, and their weights."""
        tiles = self.stages * self.keys * (features + channels)
        return itemsize * (self.rows * features + tiles + self.rows * self.keys)


BLOCKS = (
    (128, 2, Blocks(128, 64, 8, 3)),
    (128, 2, Blocks(128, 64, 8, 2)),
    (256, 2, Blocks(64, 32, 8, 2)),
    (256, 2, Blocks(32, 16, 4, 1)),
    (64, 4, Blocks(32, 32, 4, 2)),
    (128, 4, Blocks(32, 16, 4, 2)),
    (256, 4, Blocks(16, 16, 4, 1)),
)
"""Features of a head at most, bytes of a number, and the sizes that go with them; chosen by what the compiler says of
registers and shared memory. The first that fits is taken, or else the last of its kind."""


def choose_blocks(features: int, channels: int, itemsize: int, rows: int, pool: int, shared_bytes: int) -> Blocks:
    """The sizes for an item.

    Args:
        features: D, as a power of two.
        channels: Dv, as a power of two.
        itemsize: bytes of a number of Q, K and V.
        rows: query rows of the item.
        pool: keys of a cell of the picture; a tile lies in one.
        shared_bytes: that a program may have.
    """
    able = [x for most, size, x in BLOCKS if size == itemsize and max(features, channels) <= most]
    fitting = (x for x in able if x.shared_bytes(features, channels, itemsize) <= shared_bytes)
    blocks = next(fitting, able[-1])
    widths = [LEAST << power for power in range((blocks.keys // LEAST).bit_length())]
    keys = min(widths, key=lambda width: -(-pool // width) * (width + OVERHEAD))
    return replace(blocks, rows=min(blocks.rows, padded(rows)), keys=keys)


def padded(size: int) -> int:
    """The least power of two that a product takes."""
    return max(LEAST, 1 << (size - 1).bit_length())


class TritonPass:
    """Gives an item's sums by one launch; m is each row's largest logit.

    Args:
        call: the call, one that :func:`supports` has nothing against.
        plan: how it is cut.
    """

    def __init__(self, call: Call, plan: Plan) -> None:
        self._call, self._plan = call, plan
        self._k, self._v = (_with_last_axis_whole(x) for x in (call.inputs.k, call.inputs.v))
        self._sums: dict[tuple[int, int, int], RowSums] = {}
        is_gpu = call.device.type == "cuda"
        self._shared_bytes = torch_compat.shared_bytes_of_program(call.device) if is_gpu else INTERPRETED_BYTES

    def sums(self, item: Area, follow: bool = False) -> RowSums:
        """All sums of an item's rows, in room that the next item of its shape will use."""
        call = self._call
        if item.shape not in self._sums:
            columns = -(-call.seen.mask.num_keys // self._plan.key_pool)
            self._sums[item.shape] = replace(RowSums.empty(call, item.shape, columns), follows=True)
        sums = self._sums[item.shape]
        sums.cells.fill_(HIDDEN)
        self._launch(item, sums)
        sums.cells.sub_(sums.reference[..., None])
        return sums

    def _launch(self, item: Area, sums: RowSums) -> None:
        from attn_cli.inspection.stream import triton_kernel

        call, pool = self._call, self._plan.key_pool
        q = _with_last_axis_whole(call.inputs.q[item.place])
        k, v = (x[item.batch, item.kv_heads] for x in (self._k, self._v))
        batch, heads, rows = item.shape
        first, behind = self._intervals(item)  # (b or 1, r) each
        sizes = padded(q.shape[-1]), padded(v.shape[-1])
        blocks = choose_blocks(*sizes, q.dtype.itemsize, rows, pool, self._shared_bytes)
        with _current(call.device):
            triton_kernel.row_sums[(-(-rows // blocks.rows) * batch * heads,)](
                q, k, v, first, behind, call.seen.mask.places[item.rows].contiguous(),
                sums.reference, sums.sums, sums.output, sums.cells,
                *q.stride()[:3], *k.stride()[:3], *v.stride()[:3], rows if len(first) > 1 else 0,
                heads, call.groups, rows, k.shape[2], pool, sums.cells.shape[3], batch * heads * rows,
                *_factors(call),
                D=q.shape[-1], DV=v.shape[-1], BLOCK_D=sizes[0], BLOCK_DV=sizes[1],
                BLOCK_M=blocks.rows, BLOCK_N=blocks.keys, IS_CAPPED=bool(call.inputs.rules.softcap),
                FILLS_CELLS=pool % blocks.keys == 0, WIDENS=torch_compat.triton_interprets(),
                num_warps=blocks.warps, num_stages=blocks.stages, enable_fp_fusion=True,
            )  # fmt: skip

    def _intervals(self, item: Area) -> tuple[Tensor, Tensor]:
        """The first visible key of each row and the one behind the last, ``(b or 1, r)`` int32."""
        both = (x[:, 0] for x in self._call.seen.mask.interval(item.rows))  # (B or 1, r)
        first, behind = (x if len(x) == 1 else x[item.batch] for x in both)
        return first.to(torch.int32).contiguous(), behind.to(torch.int32).contiguous()


def _factors(call: Call) -> tuple[float, float, float]:
    """The sign of the scale, what makes a level a logit, and what makes a dot product the argument of the tanh."""
    scale, softcap = float(call.inputs.scale), abs(float(call.inputs.rules.softcap or 0.0))
    sign = -1.0 if scale < 0 else 1.0
    return (sign, softcap, abs(scale) / softcap) if softcap else (sign, abs(scale), 0.0)


def _with_last_axis_whole(x: Tensor) -> Tensor:
    """``x`` as it lies, or a copy where the numbers of a head do not lie side by side."""
    return x if x.stride(-1) == 1 or x.shape[-1] == 1 else x.contiguous()


def _current(device: torch.device) -> AbstractContextManager[object]:
    """Triton launches on the current device."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()
