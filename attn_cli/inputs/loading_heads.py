"""A call whose Q, K and V are projected heads already."""

from __future__ import annotations

from torch import Tensor

from attn_cli.attention.types import AttentionInputs, LinearWeights
from attn_cli.inputs.dtypes import dtype_conventions
from attn_cli.inputs.kept_heads import index_of
from attn_cli.inputs.layout import Reading, as_heads, head_sizes, read_layout
from attn_cli.inputs.linear import read_output, used_infos
from attn_cli.inputs.names import HEADS, split_name
from attn_cli.inputs.planned import Planned, loaded, with_roles
from attn_cli.inputs.rules import read_rules
from attn_cli.inputs.selecting import check_selection
from attn_cli.inputs.settings import FILE
from attn_cli.inputs.text import few, shown
from attn_cli.inputs.types import Convention, LoadedCall, TensorInfo
from attn_cli.inputs.validation import check_floating


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
    kept, said = plan.kept_heads(sizes)
    selection = check_selection(file.path, plan.options, sizes, kept)
    q, k, v = _heads(plan, reading)
    index = index_of(sizes, kept)
    output, used = _output(plan, index.total_heads, sizes.value_dim)
    rules = read_rules(file, plan.call, sizes, settings, plan.options)
    tokens = plan.tokens(sizes)
    inputs = AttentionInputs(q, k, v, rules.rules, index, output, tokens.ids)
    said += [Convention("layout", reading.text, reading.origin), *dtype_conventions(infos), *_passed_over(plan)]
    tensors = (*with_roles(infos, HEADS), *used)
    record = plan.recorded(sizes, reading)
    return loaded(plan, inputs, sizes, selection, rules, tokens, tensors, said, record)


def _heads(plan: Planned, reading: Reading) -> tuple[Tensor, Tensor, Tensor]:
    q, k, v = (plan.file.read(name) for name in plan.call.triple)
    return (
        as_heads(q, reading, reading.heads),  # (B, Hq, Sq, D)
        as_heads(k, reading, reading.kv_heads),  # (B, Hkv, Sk, D)
        as_heads(v, reading, reading.kv_heads),  # (B, Hkv, Sk, Dv)
    )


def _output(plan: Planned, heads: int, value_dim: int) -> tuple[LinearWeights | None, tuple[TensorInfo, ...]]:
    """W_o of all heads, those that were not kept among them, and its tensors, where the file has it."""
    if plan.projections is None:
        return None, ()
    layer = read_output(plan.weights, plan.projections, heads, value_dim)
    used = tuple(info for info in used_infos(plan.weights, plan.projections) if (info.role or "").startswith("W_o"))
    return layer, used


def _passed_over(plan: Planned) -> list[Convention]:
    """Said where there is also what could project anew: nn.MultiheadAttention calls its hidden states query too."""
    if plan.projections is None or not plan.projections.has_inputs:
        return []
    q, k, v = (shown(split_name(name)[1]) for name in plan.call.triple)
    spare = f"; {few(plan.call.spare)} not used" if plan.call.spare else ""
    return [Convention("inputs", f"{q}, {k} and {v} are projected already{spare}", FILE)]
