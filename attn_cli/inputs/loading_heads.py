"""A call whose Q, K and V are projected heads already."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from attn_cli.attention.selection import Selection
from attn_cli.attention.types import AttentionInputs
from attn_cli.inputs.dtypes import dtype_conventions
from attn_cli.inputs.kept_heads import KeptHeads, index_of
from attn_cli.inputs.layout import Reading, as_heads, head_sizes, read_layout
from attn_cli.inputs.linear import judge_output, read_output, used_infos
from attn_cli.inputs.names import HEADS, split_name
from attn_cli.inputs.planned import Planned, loaded, with_roles
from attn_cli.inputs.rules import judge_rules, read_rules
from attn_cli.inputs.selecting import check_selection
from attn_cli.inputs.settings import FILE, Settings
from attn_cli.inputs.text import few, shown
from attn_cli.inputs.types import Convention, LoadedCall, TensorInfo
from attn_cli.inputs.validation import CallSizes, check_floating


@dataclass(frozen=True)
class JudgedHeads:
    """What names, shapes and dtypes say of the call.

    Attributes:
        settings: what flags and metadata say.
        reading: of q, k and v.
        sizes: of the whole call.
        kept: the heads that are there, where a recording left some out.
        said: of them.
        selection: the part to inspect.
    """

    settings: Settings
    reading: Reading
    sizes: CallSizes
    kept: KeptHeads | None
    said: list[Convention]
    selection: Selection


def judge_heads(plan: Planned) -> JudgedHeads:
    """Judge the call by names, shapes and dtypes; no tensor is read.

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
    if plan.projections is not None:
        judge_output(plan.weights, plan.projections, sizes.heads if kept is None else kept.total, sizes.value_dim)
    judge_rules(file, plan.call, sizes, plan.options)
    plan.tokens(sizes).judge()
    return JudgedHeads(settings, reading, sizes, kept, said, selection)


def load_heads(plan: Planned) -> LoadedCall:
    """Read the call; it is judged before its numbers are read.

    Raises:
        InputError: where a tensor is not what it has to be.
    """
    judged, infos = judge_heads(plan), plan.infos
    reading, sizes = judged.reading, judged.sizes
    q, k, v = _heads(plan, reading)
    output = None if plan.projections is None else read_output(plan.weights, plan.projections)
    rules = read_rules(plan.file, plan.call, sizes, judged.settings, plan.options)
    tokens = plan.tokens(sizes).read()
    inputs = AttentionInputs(q, k, v, rules.rules, index_of(sizes, judged.kept), output, tokens.ids)
    layout = Convention("layout", reading.text, reading.origin)
    said = [*judged.said, layout, *dtype_conventions(infos), *_passed_over(plan)]
    tensors = (*with_roles(infos, HEADS), *_used(plan))
    record = plan.recorded(sizes, reading)
    return loaded(plan, inputs, sizes, judged.selection, rules, tokens, tensors, said, record)


def _heads(plan: Planned, reading: Reading) -> tuple[Tensor, Tensor, Tensor]:
    q, k, v = (plan.file.read(name) for name in plan.call.triple)
    return (
        as_heads(q, reading, reading.heads),  # (B, Hq, Sq, D)
        as_heads(k, reading, reading.kv_heads),  # (B, Hkv, Sk, D)
        as_heads(v, reading, reading.kv_heads),  # (B, Hkv, Sk, Dv)
    )


def _used(plan: Planned) -> tuple[TensorInfo, ...]:
    """The tensors of W_o, where the file has it."""
    infos = () if plan.projections is None else used_infos(plan.weights, plan.projections)
    return tuple(info for info in infos if (info.role or "").startswith("W_o"))


def _passed_over(plan: Planned) -> list[Convention]:
    """Said where there is also what could project anew: nn.MultiheadAttention calls its hidden states query too."""
    if plan.projections is None or not plan.projections.has_inputs:
        return []
    q, k, v = (shown(split_name(name)[1]) for name in plan.call.triple)
    spare = f"; {few(plan.call.spare)} not used" if plan.call.spare else ""
    return [Convention("inputs", f"{q}, {k} and {v} are projected already{spare}", FILE)]
