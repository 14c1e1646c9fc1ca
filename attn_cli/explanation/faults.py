"""What is wrong with a row: which number that is not finite brought it, or that no key is visible."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from attn_cli.attention.masks import MOST_CONSTANTS
from attn_cli.attention.types import CallIndex, ModuleInputs
from attn_cli.explanation.hiding import is_constant
from attn_cli.explanation.one_row import OneRow
from attn_cli.explanation.steps import RowSteps
from attn_cli.explanation.types import KernelRow
from attn_cli.inspection.findings import module_findings
from attn_cli.inspection.findings.broken import INPUT_HINT, ROW_HINT, first_of, is_above, kind_of
from attn_cli.inspection.findings.inputs import widened
from attn_cli.inspection.findings.rules import (
    EMPTY_ROW,
    KERNEL_DISAGREES,
    NONFINITE_INPUT,
    NONFINITE_RESULT,
    counted,
)
from attn_cli.inspection.types import Finding, Place


@dataclass(frozen=True)
class Where:
    """The row that is told, in numbers of the whole call."""

    batch: int
    head: int
    kv_head: int | None
    query: int

    def place(self, tensor: str | None = None, key: int | None = None, feature: int | None = None) -> Place:
        """A place in this row; one in K or V has the number of the key/value head."""
        if tensor in ("k", "v"):
            return Place(tensor, self.batch, self.kv_head, None, key, feature)
        return Place(tensor, self.batch, self.head, self.query, key, feature)


def row_findings(row: OneRow, steps: RowSteps, where: Where, kernel: KernelRow) -> tuple[Finding, ...]:
    """What is wrong with this row, from its inputs to what the kernel made of it."""
    found = [*_inputs(row, steps, where), *_result(steps, where), *_empty(steps, where)]
    return (*found, *_kernel(kernel, steps.output, where))


def _inputs(row: OneRow, steps: RowSteps, where: Where) -> list[Finding]:
    found = []
    if not bool(steps.query.isfinite().all()):
        feature = first_of(~steps.query.isfinite())
        bad = int((~steps.query.isfinite()).sum())
        message = f"q holds {kind_of(steps.query)} at feature {feature} of this query: every score of its row is broken"
        found.append(NONFINITE_INPUT.finding(message, where.place("q", None, feature), bad, INPUT_HINT))
    if not bool(steps.scores.isfinite().all()):
        found += _in_keys(row, steps, where)
    if not bool(steps.output.isfinite().all()):
        found += _in_values(row, steps, where)
    return [*_before_projection(row, found, where), *found, *_in_rules(steps, where), *_in_projection(row, where)]


def _before_projection(row: OneRow, found: list[Finding], where: Where) -> list[Finding]:
    """What broke q, k or v of this head, where that was not in the file but is of its projection."""
    module, kv_head = row.inputs, where.kv_head
    broken = {f"W_{one.place.tensor}" for one in found}
    if not isinstance(module, ModuleInputs) or kv_head is None or not broken:
        return []
    q, k, v = (len(layer.weight) for layer in (module.W_q, module.W_k, module.W_v))
    before = []
    for one in module_findings(module, CallIndex.whole(1, 1, 1), (where.head * q, kv_head * k, kv_head * v)):
        place, tensor = one.place, (one.place.tensor or "").partition(".")[0]
        if tensor in broken:
            before.append(one)
        elif not tensor.startswith("W_"):
            query = None if place.query is None else where.query
            before.append(replace(one, place=replace(place, batch=where.batch, query=query)))
    return before


def _in_rules(steps: RowSteps, where: Where) -> list[Finding]:
    """NaN and +∞ in the bias, at keys that the query may attend to, and in the sink."""
    found = []
    if steps.rules.bias is not None:
        bias = steps.rules.bias[0, 0, 0].expand(len(steps.visible))
        faults = is_above(bias) & steps.visible
        if bool(faults.any()):
            key = first_of(faults)
            message = f"bias holds {kind_of(bias[faults])} at key {key}"
            found.append(NONFINITE_INPUT.finding(message, where.place("bias", key), int(faults.sum()), INPUT_HINT))
    sinks = steps.rules.sinks
    if sinks is not None and bool(is_above(sinks).any()):
        message = f"sinks hold {kind_of(sinks)} for this head"
        found.append(NONFINITE_INPUT.finding(message, where.place("sinks"), 1, INPUT_HINT))
    return found


def _in_projection(row: OneRow, where: Where) -> list[Finding]:
    """NaN and infinities in the head's columns of W_o."""
    if row.W_o is None:
        return []
    W_o = widened(row.W_o)
    bad = int((~W_o.isfinite()).sum())
    if not bad:
        return []
    message = f"the output projection's weight holds {kind_of(W_o)} in this head's columns"
    return [NONFINITE_INPUT.finding(message, Place(tensor="W_o.weight", head=where.head), bad, INPUT_HINT)]


def _in_keys(row: OneRow, steps: RowSteps, where: Where) -> list[Finding]:
    """K's numbers that are not finite at keys that the query may attend to; hidden ones do no harm."""
    bad = _broken_keys(row, values=False) & steps.reached
    if not bool(bad.any()):
        return []
    key = first_of(bad)
    k = row.keys(slice(key, key + 1))[0]
    feature = first_of(~k.isfinite())
    message = f"k holds {kind_of(k)} at feature {feature} of key {key}, which this query may attend to"
    if int(bad.sum()) > 1:
        message += f"; {counted(int(bad.sum()), 'key')} of its row are like that"
    return [NONFINITE_INPUT.finding(message, where.place("k", key, feature), int(bad.sum()), INPUT_HINT)]


def _in_values(row: OneRow, steps: RowSteps, where: Where) -> list[Finding]:
    """V's, at any key: 0 times NaN is NaN, also for a hidden one."""
    bad = _broken_keys(row, values=True)
    if not bool(bad.any()):
        return []
    first = bad & steps.visible if bool((bad & steps.visible).any()) else bad
    key = first_of(first)
    v = row.values(slice(key, key + 1))[0]
    feature, kind = first_of(~v.isfinite()), kind_of(v)
    why = "" if bool(steps.visible[key]) else f"; the key is hidden, but 0 times {kind} is NaN"
    message = f"v holds {kind} at feature {feature} of key {key}{why}"
    return [NONFINITE_INPUT.finding(message, where.place("v", key, feature), int(bad.sum()), INPUT_HINT)]


def _result(steps: RowSteps, where: Where) -> list[Finding]:
    weights, output = steps.weights, steps.output
    is_drowned = bool(steps.visible.any()) and steps.lse == -torch.inf
    if bool(weights.isfinite().all()) and bool(output.isfinite().all()) and not is_drowned:
        return []
    cause, key = _cause(steps, is_drowned)
    what = "the weights of this row are broken" if not bool(weights.isfinite().all()) else "the output is broken"
    what = "no key of this row gets any weight" if is_drowned else what
    return [NONFINITE_RESULT.finding(f"{what}: {cause}", where.place(None, key), None, ROW_HINT)]


def _cause(steps: RowSteps, is_drowned: bool) -> tuple[str, int | None]:
    """The step in which the row went wrong, and the key concerned."""
    if is_drowned:
        return "every visible logit is −∞", None
    marked = is_above(steps.logits)
    if bool(marked.any()):
        key = first_of(marked)
        names = ("score", "scaled logit", "capped logit", "biased logit")
        for name, x in zip(names, (steps.scores, steps.scaled, steps.capped, steps.biased), strict=True):
            if bool(is_above(x[key])):
                return f"the {name} of key {key} is {kind_of(x[key])}, and the softmax hands it to every key", key
    sinks = steps.rules.sinks
    if sinks is not None and bool(is_above(sinks).any()):
        return f"the head's sink is {kind_of(sinks)}", None
    if not bool(steps.weights.isfinite().all()):
        return "the sum of exponentials is not finite", None
    feature = first_of(~steps.output.isfinite())
    return f"weights times V is {kind_of(steps.output[feature])} at feature {feature}", None


def _empty(steps: RowSteps, where: Where) -> list[Finding]:
    constants = _drowning(steps)
    if bool(steps.visible.any()) and constants is None:
        return []
    if constants is not None:
        what = f"the mask constant {constants} is added to every logit, and the weights are spread over hidden keys"
    elif steps.rules.mask.value is not None:
        value = steps.rules.mask.value
        what = f"with the mask value {value:g} the weights are spread over keys that should be hidden"
    else:
        has_sink = steps.rules.sinks is not None
        what = "all weight is on the sink and the output is 0" if has_sink else "weights and output are 0"
    hint = "Give the row a key to attend to, or do not read its output."
    return [EMPTY_ROW.finding(f"this query row has no visible key: {what}", where.place(), 1, hint)]


def _drowning(steps: RowSteps) -> str | None:
    """The finite mask constants that hide each key of the row that nothing else does; None where one has none."""
    if steps.rules.bias is None or not bool(steps.visible.any()):
        return None
    numbers = steps.rules.bias[0, 0, 0].expand(len(steps.visible))[steps.visible]
    different = sorted(set(numbers.tolist()))
    if not bool(is_constant(numbers).all()) or len(different) > MOST_CONSTANTS:
        return None
    return " or ".join(f"{number:.6g}" for number in different)


def _kernel(kernel: KernelRow, output: Tensor, where: Where) -> list[Finding]:
    """ATTN005 where the kernel's output is finite and the definition's is not, or the other way round."""
    if not kernel.disagreements:
        return []
    ours, theirs = output.isfinite(), torch.tensor(kernel.output).isfinite()
    values = counted(kernel.disagreements, "output value")
    if bool((theirs & ~ours).any()):
        message = f"{kernel.ran} in {kernel.dtype} gives {values} as finite where the definition gives NaN or infinity"
        hint = "Trust the definition: the kernel hides a fault of its inputs."
    else:
        message = f"{kernel.ran} in {kernel.dtype} gives NaN or infinity for {values} where the definition is finite"
        hint = "A kernel that adds its mask hands on a hidden key's NaN, and a half type overflows before float64 does."
    return [KERNEL_DISAGREES.finding(message, where.place(), kernel.disagreements, hint)]


def _broken_keys(row: OneRow, *, values: bool) -> Tensor:
    """The keys whose row of K or V is not finite, ``(Sk,)``."""
    take = row.values if values else row.keys
    broken = torch.empty(row.num_keys, dtype=torch.bool)
    for some in row.blocks():
        broken[some] = ~take(some).isfinite().all(dim=-1)
    return broken
