"""What one thread does: blocks of query rows, each from its tiles to its rows' values, pictures and candidates."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from attn_cli.attention.types import accumulation_dtype
from attn_cli.inspection.areas import Area
from attn_cli.inspection.call import Call
from attn_cli.inspection.pictures import PictureBuilder
from attn_cli.inspection.rows import RowValues
from attn_cli.inspection.stream.exact import ExactPass
from attn_cli.inspection.stream.finish import Measured, finish
from attn_cli.inspection.stream.functions import Functions, compiled
from attn_cli.inspection.stream.near import NearWeights
from attn_cli.inspection.stream.passes import choose_pass
from attn_cli.inspection.stream.plan import Plan
from attn_cli.inspection.stream.spans import Spans
from attn_cli.inspection.top import TopBuilder

WORTH_COMPILING = 2**24  # scores; compiling takes about as long as they do


@dataclass(frozen=True)
class Kept:
    """What is kept of every query row.

    Attributes:
        output: ``(B, Hq, Sq, Dv)`` on the CPU; like lse and weights in the accumulation dtype of the inputs' own.
        lse: ``(B, Hq, Sq)`` on the CPU.
        reference, total: ``(B, Hq, Sq)`` on the device, what weights are formed with.
        weights: ``(B, Hq, Sq, Sk)`` on the CPU where they were asked for.
        sinks: the sinks' weights ``(B, Hq, Sq)`` on the CPU where weights were asked for and there are sinks.
    """

    output: Tensor
    lse: Tensor
    reference: Tensor
    total: Tensor
    weights: Tensor | None
    sinks: Tensor | None

    @classmethod
    def empty(cls, call: Call, keep_weights: bool) -> Kept:
        """Room for all rows."""
        shape = call.inputs.weights_shape
        sinks, dtype = keep_weights and call.inputs.rules.sinks is not None, accumulation_dtype(call.inputs.q.dtype)
        return cls(
            output=torch.empty(*shape[:3], call.inputs.v.shape[-1], dtype=dtype),
            lse=torch.empty(shape[:3], dtype=dtype),
            reference=torch.empty(shape[:3], dtype=call.dtype, device=call.device),
            total=torch.empty(shape[:3], dtype=call.dtype, device=call.device),
            weights=torch.empty(shape, dtype=dtype) if keep_weights else None,
            sinks=torch.empty(shape[:3], dtype=dtype) if sinks else None,
        )


@dataclass(frozen=True)
class Results:
    """What all threads write to.

    Attributes:
        kept: rows; every item has rows of its own.
        pictures, top: guarded by locks of their own; the order of the items does not matter to them.
    """

    kept: Kept
    pictures: PictureBuilder
    top: TopBuilder


@dataclass(frozen=True)
class Piece:
    """What a thread is given: an item, the part it belongs to, and the part's values."""

    item: Area
    part: Area
    values: RowValues


class Worker:
    """Takes items one after the other, in buffers of its own.

    Args:
        call: the call.
        spans: the keys that its rows reach.
        plan: how it is cut.
        functions: what does the work.
        results: what to write to.
    """

    def __init__(self, call: Call, spans: Spans, plan: Plan, functions: Functions, results: Results) -> None:
        self._call, self._results = call, results
        self._online = choose_pass(call, spans, plan, functions)
        self._near = NearWeights(call, spans, functions)
        self._exact = ExactPass(call, plan.key_pool, results.kept.weights)

    def run(self, piece: Piece) -> None:
        """Measure the rows of an item; their values go into those of its part."""
        values = piece.values.within(piece.part, piece.item)
        found = self._measure(piece.item, values)
        self._keep(piece.item, values, found.output)
        self._near.add(piece.item, values)
        self._results.pictures.add(piece.item, found.cells)
        self._results.top.add(piece.item, found.of_visible, found.strongest)

    def _measure(self, item: Area, values: RowValues) -> Measured:
        """Look at every tile once wherever that will do."""
        if self._is_for_online(item):
            for follow in (False, True):
                sums = self._online.sums(item, follow)
                found = finish(self._call, item, sums, values, self._results.kept.output)
                if found is not None:
                    return found
                if sums.follows:
                    break
        return self._exact.rows(item, values)

    def _is_for_online(self, item: Area) -> bool:
        if self._results.kept.weights is not None or self._call.inputs.rules.mask.value is not None:
            return False
        return bool(self._call.sound[item.batch, item.kv_heads].all())

    def _keep(self, item: Area, values: RowValues, output: Tensor) -> None:
        kept = self._results.kept
        if output.data_ptr() != kept.output[item.place].data_ptr():
            kept.output[item.place].copy_(output)
        kept.lse[item.place].copy_(values.lse)
        kept.reference[item.place].copy_(values.reference)
        kept.total[item.place].copy_(values.total)
        norm = torch.linalg.vector_norm(output, dim=-1)  # (b, h, r)
        values.output_norm.copy_(norm)
        values.faulty.copy_(norm.isfinite().logical_not_())
        if bool(values.faulty.any()):  # the norm of finite numbers may overflow
            values.faulty.copy_(~output.isfinite().all(dim=-1))
        if values.projected_norm is not None and self._call.projections is not None:
            projected = output.to(self._call.dtype) @ self._call.projections[item.heads].mT  # (b, h, r, min(E, Dv))
            values.projected_norm.copy_(torch.linalg.vector_norm(projected, dim=-1))


def choose_functions(call: Call, scores: int) -> Functions:
    """What does the work, compiled where there is enough of it."""
    return compiled() if call.device.type == "cpu" and scores >= WORTH_COMPILING else Functions()
