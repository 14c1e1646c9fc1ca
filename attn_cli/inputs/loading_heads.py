"""A call whose Q, K and V are projected heads already."""

from __future__ import annotations

from torch import Tensor

from attn_cli.attention.types import AttentionInputs, CallIndex, LinearWeights
from attn_cli.inputs.dtypes import dtype_conventions
from attn_cli.inputs.layout import Reading, as_heads, head_sizes, read_layout
from attn_cli.inputs.linear import read_output, used_infos
from attn_cli.inputs.names import HEADS, split_name
from attn_cli.inputs.planned import Planned, loaded, with_roles
from attn_cli.inputs.rules import read_rules
from attn_cli.inputs.settings import FILE
from attn_cli.inputs.text import few, shown
from attn_cli.inputs.types import Convention, LoadedCall, TensorInfo
from attn_cli.inputs.validation import CallSizes, check_floating, check_selection


def load_heads(plan: Planned) -> LoadedCall:
    """Read the call; its sizes are checked before its numbers are read.

    Raises:
        InputError: where a tensor is not what it has to be.
    """
    file, settings, infos = plan.file, plan.settings(), plan.infos
    for info in infos:
        check_floating(file.path, info)
    reading = read_layout(file.path, infos, settings)
    sizes = head_sizes(file.path, infos, reading)
    selection = check_selection(file.path, plan.options, sizes)
    q, k, v = _heads(plan, reading)
    output, used = _output(plan, sizes)
    rules = read_rules(file, plan.call, sizes, settings, plan.options)
    ids, ids_info = plan.token_ids(sizes)
    index = CallIndex.whole(sizes.batch, sizes.heads, sizes.queries)
    inputs = AttentionInputs(q, k, v, rules.rules, index, output, ids)
    said = [Convention("layout", reading.text, reading.origin), *dtype_conventions(infos), *_passed_over(plan)]
    tensors = (*with_roles(infos, HEADS), *used, *rules.tensors, *ids_info)
    record = plan.recorded(sizes, reading)
    return loaded(plan, inputs, sizes, selection, rules, tensors, said, record)


def _heads(plan: Planned, reading: Reading) -> tuple[Tensor, Tensor, Tensor]:
    q, k, v = (plan.file.read(name) for name in plan.call.triple)
    return (
        as_heads(q, reading, reading.heads),  # (B, Hq, Sq, D)
        as_heads(k, reading, reading.kv_heads),  # (B, Hkv, Sk, D)
        as_heads(v, reading, reading.kv_heads),  # (B, Hkv, Sk, Dv)
    )


def _output(plan: Planned, sizes: CallSizes) -> tuple[LinearWeights | None, tuple[TensorInfo, ...]]:
    """W_o and its tensors, where the file has it."""
    if plan.projections is None:
        return None, ()
    layer = read_output(plan.weights, plan.projections, sizes.heads, sizes.value_dim)
    used = tuple(info for info in used_infos(plan.weights, plan.projections) if (info.role or "").startswith("W_o"))
    return layer, used


def _passed_over(plan: Planned) -> list[Convention]:
    """Said where there is also what could project anew: nn.MultiheadAttention calls its hidden states query too."""
    if plan.projections is None or not plan.projections.has_inputs:
        return []
    q, k, v = (shown(split_name(name)[1]) for name in plan.call.triple)
    spare = f"; {few(plan.call.spare)} not used" if plan.call.spare else ""
    return [Convention("inputs", f"{q}, {k} and {v} are projected already{spare}", FILE)]
