"""What is wrong with a row: which number that is not finite brought it, or that no key is visible."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from attn_cli.explanation.one_row import OneRow
from attn_cli.explanation.steps import RowSteps
from attn_cli.explanation.types import KernelRow
from attn_cli.inspection.findings.rules import (
    EMPTY_ROW,
    KERNEL_DISAGREES,
    NONFINITE_INPUT,
    NONFINITE_RESULT,
    counted,
)
from attn_cli.inspection.types import Finding, Place

HINT = "Look where this tensor was computed: an overflow in half precision or a division by 0 is the usual source."


@dataclass(frozen=True)
class Where:
    """The row that is told, in numbers of the whole call."""

    batch: int
    head: int
    kv_head: int
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
        feature = _first(~steps.query.isfinite())
        bad = int((~steps.query.isfinite()).sum())
        message = f"q holds {_kind(steps.query)} at feature {feature} of this query: every score of its row is broken"
        found.append(NONFINITE_INPUT.finding(message, where.place("q", None, feature), bad, HINT))
    if not bool(steps.scores.isfinite().all()):
        found += _in_keys(row, steps, where)
    if not bool(steps.output.isfinite().all()):
        found += _in_values(row, steps, where)
    return [*found, *_in_rules(steps, where), *_in_projection(row, where)]


def _in_rules(steps: RowSteps, where: Where) -> list[Finding]:
    """NaN and +∞ in the bias, at keys that the query may attend to, and in the sink."""
    found = []
    if steps.rules.bias is not None:
        bias = steps.rules.bias[0, 0, 0].expand(len(steps.visible))
        faults = _above(bias) & steps.visible
        if bool(faults.any()):
            key = _first(faults)
            message = f"bias holds {_kind(bias[faults])} at key {key}"
            found.append(NONFINITE_INPUT.finding(message, where.place("bias", key), int(faults.sum()), HINT))
    sinks = steps.rules.sinks
    if sinks is not None and bool(_above(sinks).any()):
        message = f"sinks hold {_kind(sinks)} for this head"
        found.append(NONFINITE_INPUT.finding(message, where.place("sinks"), 1, HINT))
    return found


def _in_projection(row: OneRow, where: Where) -> list[Finding]:
    """NaN and infinities in the head's columns of W_o."""
    if row.W_o is None or bool(row.W_o.isfinite().all()):
        return []
    bad = int((~row.W_o.isfinite()).sum())
    message = f"the output projection's weight holds {_kind(row.W_o)} in this head's columns"
    return [NONFINITE_INPUT.finding(message, Place(tensor="W_o.weight", head=where.head), bad, HINT)]


def _in_keys(row: OneRow, steps: RowSteps, where: Where) -> list[Finding]:
    """K's numbers that are not finite at keys that the query may attend to; hidden ones do no harm."""
    bad = _broken_keys(row, values=False) & steps.visible
    if not bool(bad.any()):
        return []
    key = _first(bad)
    k = row.keys(slice(key, key + 1))[0]
    feature = _first(~k.isfinite())
    message = f"k holds {_kind(k)} at feature {feature} of key {key}, which this query may attend to"
    if int(bad.sum()) > 1:
        message += f"; {counted(int(bad.sum()), 'key')} of its row are like that"
    return [NONFINITE_INPUT.finding(message, where.place("k", key, feature), int(bad.sum()), HINT)]


def _in_values(row: OneRow, steps: RowSteps, where: Where) -> list[Finding]:
    """V's, at any key: 0 times NaN is NaN, also for a hidden one."""
    bad = _broken_keys(row, values=True)
    if not bool(bad.any()):
        return []
    first = bad & steps.visible if bool((bad & steps.visible).any()) else bad
    key = _first(first)
    v = row.values(slice(key, key + 1))[0]
    feature, kind = _first(~v.isfinite()), _kind(v)
    why = "" if bool(steps.visible[key]) else f"; the key is hidden, but 0 times {kind} is NaN"
    message = f"v holds {kind} at feature {feature} of key {key}{why}"
    return [NONFINITE_INPUT.finding(message, where.place("v", key, feature), int(bad.sum()), HINT)]


def _result(steps: RowSteps, where: Where) -> list[Finding]:
    weights, output = steps.weights, steps.output
    is_drowned = bool(steps.visible.any()) and steps.lse == -torch.inf
    if bool(weights.isfinite().all()) and bool(output.isfinite().all()) and not is_drowned:
        return []
    cause, key = _cause(steps, is_drowned)
    what = "the weights of this row are broken" if not bool(weights.isfinite().all()) else "the output is broken"
    what = "no key of this row gets any weight" if is_drowned else what
    hint = "The row cannot be used; the finding on the inputs, where there is one, says where it began."
    return [NONFINITE_RESULT.finding(f"{what}: {cause}", where.place(None, key), None, hint)]


def _cause(steps: RowSteps, is_drowned: bool) -> tuple[str, int | None]:
    """The step in which the row went wrong, and the key concerned."""
    if is_drowned:
        return "every visible logit is −∞", None
    marked = _above(steps.logits)
    if bool(marked.any()):
        key = _first(marked)
        names = ("score", "scaled logit", "capped logit", "biased logit")
        for name, x in zip(names, (steps.scores, steps.scaled, steps.capped, steps.biased), strict=True):
            if bool(_above(x[key])):
                return f"the {name} of key {key} is {_kind(x[key])}, and the softmax hands it to every key", key
    sinks = steps.rules.sinks
    if sinks is not None and bool(_above(sinks).any()):
        return f"the head's sink is {_kind(sinks)}", None
    if not bool(steps.weights.isfinite().all()):
        return "the sum of exponentials is not finite", None
    feature = _first(~steps.output.isfinite())
    return f"weights times V is {_kind(steps.output[feature])} at feature {feature}", None


def _empty(steps: RowSteps, where: Where) -> list[Finding]:
    if bool(steps.visible.any()):
        return []
    if steps.rules.mask.value is not None:
        value = steps.rules.mask.value
        what = f"with the mask value {value:g} the weights are spread over keys that should be hidden"
    else:
        has_sink = steps.rules.sinks is not None
        what = "all weight is on the sink and the output is 0" if has_sink else "weights and output are 0"
    hint = "Give the row a key to attend to, or do not read its output."
    return [EMPTY_ROW.finding(f"this query row has no visible key: {what}", where.place(), 1, hint)]


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


def _above(x: Tensor) -> Tensor:
    """NaN or +∞; −∞ hides a key and is no fault."""
    return ~(x < torch.inf)


def _first(marked: Tensor) -> int:
    return int(marked.to(torch.int8).argmax())


def _kind(x: Tensor) -> str:
    """Which of the numbers that are not finite ``x`` holds."""
    if bool(x.isnan().any()):
        return "NaN"
    return "+∞" if bool((x == torch.inf).any()) else "−∞"
