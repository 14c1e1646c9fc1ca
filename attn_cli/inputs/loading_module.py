"""A call of the whole multi-head module: queries, keys and values that are projected first."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from attn_cli.attention.selection import Selection
from attn_cli.attention.types import ModuleInputs, Rules
from attn_cli.errors import in_file
from attn_cli.inputs.dtypes import dtype_conventions
from attn_cli.inputs.linear import (
    InputShapes,
    ModuleSizes,
    judge_inputs,
    judge_output,
    module_sizes,
    read_inputs,
    read_output,
    used_infos,
)
from attn_cli.inputs.names import HIDDEN, MODULE
from attn_cli.inputs.planned import Infos, Planned, loaded, with_roles
from attn_cli.inputs.projections import Projections
from attn_cli.inputs.rules import judge_rules, read_rules
from attn_cli.inputs.selecting import check_selection
from attn_cli.inputs.settings import FILE, Settings
from attn_cli.inputs.text import describe, shown
from attn_cli.inputs.types import Convention, LoadedCall, TensorInfo
from attn_cli.inputs.validation import (
    CallSizes,
    check_floating,
    check_groups,
    check_not_empty,
    differs,
)


@dataclass(frozen=True)
class JudgedModule:
    """What names, shapes and dtypes say of the call.

    Attributes:
        settings: what flags and metadata say.
        sizes: of the whole call.
        shapes: of the input projections.
        selection: the part to inspect.
    """

    settings: Settings
    sizes: CallSizes
    shapes: InputShapes
    selection: Selection


def judge_module(plan: Planned) -> JudgedModule:
    """Judge the call by names, shapes and dtypes; no tensor is read.

    Raises:
        InputError: where a tensor is not what it has to be.
    """
    assert plan.projections is not None  # a plan without weights is refused before
    file, settings = plan.file, plan.settings()
    known = _known_sizes(file.path, plan.infos, settings)
    whole = CallSizes(known.batch, known.heads, 1, known.queries, known.keys, 1, 1)
    selection = check_selection(file.path, plan.options, whole)
    shapes = judge_inputs(plan.weights, plan.projections, known)
    sizes = module_sizes(plan.weights.path, shapes, known)
    judge_output(plan.weights, plan.projections, sizes.heads, sizes.value_dim)
    judge_rules(file, plan.call, sizes, plan.options)
    plan.tokens(sizes).judge()
    return JudgedModule(settings, sizes, shapes, selection)


def load_module(plan: Planned) -> LoadedCall:
    """Read the call; it is judged before its numbers are read.

    Raises:
        InputError: where a tensor is not what it has to be.
    """
    assert plan.projections is not None  # a plan without weights is refused before
    judged, infos = judge_module(plan), plan.infos
    settings, sizes = judged.settings, judged.sizes
    rules = read_rules(plan.file, plan.call, sizes, settings, plan.options)
    tokens = plan.tokens(sizes).read()
    inputs = _module(plan, plan.projections, judged, rules.rules, tokens.ids)
    used = used_infos(plan.weights, plan.projections)
    tensors = (*_own_infos(plan), *used)
    said = [
        Convention("layout", _layout_text(infos, sizes), settings.num_heads.origin),
        *dtype_conventions([*infos, *used]),
        Convention("projections", _projections_text(plan.projections), FILE),
    ]
    return loaded(plan, inputs, sizes, judged.selection, rules, tokens, tensors, said, plan.recorded(sizes))


def _module(
    plan: Planned, projections: Projections, judged: JudgedModule, rules: Rules, token_ids: Tensor | None
) -> ModuleInputs:
    """The whole module's call, its tensors as the file has them."""
    queries, keys, values = (_batched(plan.file.read(name)) for name in plan.call.triple)
    W_q, W_k, W_v = read_inputs(plan.weights, projections, judged.shapes)
    W_o = read_output(plan.weights, projections)
    heads, kv_heads = judged.sizes.heads, judged.sizes.kv_heads
    return ModuleInputs(queries, keys, values, W_q, W_k, W_v, W_o, heads, kv_heads, rules, token_ids)


def _known_sizes(path: str, infos: Infos, settings: Settings) -> ModuleSizes:
    """What the inputs of a module say about the call before its weights are read."""
    queries, keys, values = infos
    for info in infos:
        _check_states(path, info, queries)
    if keys.shape[-2] != values.shape[-2]:
        raise differs(path, values, "keys", values.shape[-2], keys, keys.shape[-2])
    heads, kv_heads = settings.num_heads.value, settings.num_kv_heads.value
    if heads is None:
        found = f"{shown(queries.name)} is to be projected, and nothing says to how many heads"
        raise in_file(path, found, "expected --num-heads, or metadata num_heads")
    if kv_heads is not None:
        check_groups(path, queries.name, heads, kv_heads)
    features = (queries.shape[-1], keys.shape[-1], values.shape[-1])
    return ModuleSizes(_batch(queries), queries.shape[-2], keys.shape[-2], heads, kv_heads, features)


def _check_states(path: str, info: TensorInfo, queries: TensorInfo) -> None:
    check_floating(path, info)
    check_not_empty(path, info)
    if len(info.shape) not in (2, 3):
        raise in_file(path, describe(info), "expected (B, S, features)")
    if len(info.shape) != len(queries.shape):
        raise differs(path, info, "rank", len(info.shape), queries, len(queries.shape))
    if _batch(info) != _batch(queries):
        raise differs(path, info, "batch", _batch(info), queries, _batch(queries))


def _batch(info: TensorInfo) -> int:
    return info.shape[0] if len(info.shape) == 3 else 1


def _batched(x: Tensor) -> Tensor:
    return x[None] if x.dim() == 2 else x  # (B, S, features)


def _own_infos(plan: Planned) -> tuple[TensorInfo, ...]:
    """What is projected: one tensor where all three are the same hidden states."""
    is_hidden = len(set(plan.call.triple)) == 1
    return (replace(plan.infos[0], role=HIDDEN),) if is_hidden else with_roles(plan.infos, MODULE)


def _layout_text(infos: Infos, sizes: CallSizes) -> str:
    axes = "(B, S, features)" if len(infos[0].shape) == 3 else "(S, features), a batch of one,"
    return f"{axes} projected to {sizes.heads} heads"


def _projections_text(found: Projections) -> str:
    return f"{found.style} (out, in)" if found.fused is None else f"{found.style}: rows of q, then k, then v"
