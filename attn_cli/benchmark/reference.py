"""The same case in float64, and how far a contender lies from it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from attn_cli.attention import textbook, torch_compat
from attn_cli.attention.blocks import row_blocks
from attn_cli.attention.types import AttentionInputs, CallIndex, Rules, accumulation_dtype
from attn_cli.benchmark.inputs import DTYPES, Drawn

SCORES = {"cuda": 2**30, "cpu": 2**26}  # that are computed in float64: about a second on a common device of its kind
BACKWARD_COST = 4
SCORES_AT_ONCE = {"cuda": 2**25, "cpu": 2**22}
ROUNDINGS = 8
LOGIT_ROUNDINGS = 256
BACKWARD_ROUNDINGS = 2

Part = tuple[Tensor, ...]


@dataclass(frozen=True)
class Reference:
    """What float64 gives for a part of a case.

    Attributes:
        groups: ``(batch item, key/value head)`` of each part; a part is that head with its query heads.
        total_groups: how many there are in all.
        rows: ``(R,)`` int64, the query rows of each head.
        parts: for each group its output ``(1, G, R, D)``, or with ``is_backward`` its gradients of Q ``(1, G, Sq, D)``,
            K and V ``(1, 1, Sk, D)``; float64.
        is_backward: whether gradients are compared.
    """

    groups: tuple[tuple[int, int], ...]
    total_groups: int
    rows: Tensor
    parts: tuple[Part, ...]
    is_backward: bool

    @property
    def is_whole(self) -> bool:
        """True where every head was computed."""
        return len(self.groups) == self.total_groups


@dataclass(frozen=True)
class Difference:
    """A contender beside the reference.

    Attributes:
        max_abs_error: the largest difference; of the gradient that lies worst, where there are three. NaN or infinite
            where the contender's number is and the reference's is not.
        tolerance: what the dtype explains of it.
    """

    max_abs_error: float
    tolerance: float

    @property
    def is_within(self) -> bool:
        """True where the dtype explains the difference; a NaN never is."""
        return self.max_abs_error <= self.tolerance


def make_reference(drawn: Drawn, scores: int | None = None) -> Reference | None:
    """Compute a case in float64 by the textbook, and its gradients by autograd.

    All of it where that is cheap. Beyond that, of a forward pass evenly spread rows of every head are computed, the
    first and the last among them; of a backward pass, where a key's gradient needs every row, evenly spread heads.

    Args:
        drawn: the case.
        scores: how many may be computed; None is what the device does in about a second.

    Returns:
        None where the backward pass of not even one head is cheap enough.
    """
    home = _home(drawn.inputs.q.device)
    scores = SCORES[home.type] if scores is None else scores
    case = drawn.case
    groups = [(b, h) for b in range(case.batch) for h in range(case.kv_heads)]
    of_group = case.heads // case.kv_heads * case.keys
    rows = torch.arange(case.queries, device=home)
    if drawn.gradient is None:
        rows = _spread(case.queries, scores // (len(groups) * of_group)).to(home)
        parts = [_output(_group(drawn, place, rows, home)) for place in groups]
        return Reference(tuple(groups), len(groups), rows, tuple(parts), False)
    affordable = scores // (BACKWARD_COST * of_group * case.queries)
    if affordable < 1:
        return None
    chosen = [groups[i] for i in _spread(len(groups), affordable).tolist()]
    gradients = [_gradients(drawn, place, rows, home) for place in chosen]
    return Reference(tuple(chosen), len(groups), rows, tuple(gradients), True)


def compare(results: Sequence[Tensor], reference: Reference, drawn: Drawn) -> Difference:
    """How far ``results`` lie from the reference, at most, and what their dtype explains.

    The tolerance is ``(8·eps(dtype) + 256·eps(accumulation dtype))·max abs(expected)``, as for an inspection's own
    check: rounding the weights, their products and the output in the dtype, and the logits in the dtype that sums are
    formed in. A gradient passes through twice as many products and gets twice that. Where float32 products are allowed
    to be rounded further, their eps is that of the mode.

    Args:
        results: what a contender gave: the output, or the gradients of Q, K and V; on any device.
        reference: of the same case.
        drawn: the case.

    Raises:
        ValueError: where a result has not the shape that it should have.
    """
    _check_shapes(results, drawn)
    eps = _explained(drawn) * (BACKWARD_ROUNDINGS if reference.is_backward else 1)
    worst: Difference | None = None
    for i in range(len(results)):
        found, expected = zip(*_pairs(results[i], reference, drawn, i), strict=True)
        difference = Difference(float(torch.stack(found).amax()), eps * float(torch.stack(expected).amax()))
        if worst is None or _badness(difference) > _badness(worst):
            worst = difference
    assert worst is not None  # a contender gives at least one tensor
    return worst


def _pairs(result: Tensor, reference: Reference, drawn: Drawn, i: int) -> Iterator[tuple[Tensor, Tensor]]:
    """For each group the largest difference of the i-th result, and the largest number that was expected."""
    rows, size = reference.rows, drawn.case.heads // drawn.case.kv_heads
    for (b, h), part in zip(reference.groups, reference.parts, strict=True):
        heads = slice(h * size, (h + 1) * size) if i == 0 else slice(h, h + 1)
        ours = result[b : b + 1, heads].detach()
        if not reference.is_backward:
            ours = ours.index_select(2, rows.to(ours.device))
        expected = part[i]
        difference = (ours.to(expected.device, torch.float64) - expected).abs()
        yield difference.amax(), expected.abs().amax()  # a maximum is NaN where one of its numbers is


def _badness(difference: Difference) -> float:
    if not math.isfinite(difference.max_abs_error):
        return math.inf
    if difference.tolerance == 0:
        return math.inf if difference.max_abs_error else 0.0
    return difference.max_abs_error / difference.tolerance


def _check_shapes(results: Sequence[Tensor], drawn: Drawn) -> None:
    expected = [x.shape for x in (drawn.leaves if drawn.gradient is not None else drawn.leaves[:1])]
    found = [x.shape for x in results]
    if found != expected:
        raise ValueError(f"it gave {[tuple(x) for x in found]}; expected {[tuple(x) for x in expected]}")


def _explained(drawn: Drawn) -> float:
    dtype, device = DTYPES[drawn.case.dtype], drawn.inputs.q.device
    eps = torch.finfo(dtype).eps
    if dtype == torch.float32:
        eps = torch_compat.float32_matmul_eps(device)
    return ROUNDINGS * eps + LOGIT_ROUNDINGS * torch.finfo(accumulation_dtype(dtype)).eps


def _output(inputs: AttentionInputs) -> Part:
    """The output of one group, ``(1, G, R, D)``."""
    with torch.no_grad():
        return (torch.cat([textbook.attend(inputs, block).output for block in _blocks(inputs)], dim=2),)


def _gradients(drawn: Drawn, place: tuple[int, int], rows: Tensor, home: torch.device) -> Part:
    """The gradients of one group's Q, K and V, block of rows by block of rows."""
    inputs = _group(drawn, place, rows, home)
    leaves = [x.requires_grad_() for x in (inputs.q, inputs.k, inputs.v)]
    assert drawn.gradient is not None  # gradients are asked for where there is one
    incoming = drawn.gradient[place[0], _query_heads(drawn, place[1])].to(home, torch.float64)[None]  # (1, G, Sq, D)
    sums = [torch.zeros_like(x) for x in leaves]
    with torch.enable_grad():
        for block in _blocks(inputs):
            output = textbook.attend(inputs, block).output  # (1, G, r, D)
            for total, part in zip(sums, torch.autograd.grad(output, leaves, incoming[:, :, block]), strict=True):
                total += part
    return tuple(sums)


def _group(drawn: Drawn, place: tuple[int, int], rows: Tensor, home: torch.device) -> AttentionInputs:
    """One key/value head with its query heads and these rows, as a float64 call of its own."""
    (b, h), inputs = place, drawn.inputs
    q = inputs.q.detach()[b, _query_heads(drawn, h)].index_select(1, rows.to(inputs.q.device))[None]  # (1, G, R, D)
    k, v = (x.detach()[b, h][None, None].to(home, torch.float64) for x in (inputs.k, inputs.v))  # (1, 1, Sk, D)
    mask = inputs.rules.mask.to(home)
    rules = Rules(replace(mask, places=mask.places[rows]), scale=inputs.scale)
    return AttentionInputs(q.to(home, torch.float64), k, v, rules, CallIndex.whole(1, q.shape[1], len(rows)))


def _query_heads(drawn: Drawn, kv_head: int) -> slice:
    size = drawn.case.heads // drawn.case.kv_heads
    return slice(kv_head * size, (kv_head + 1) * size)


def _blocks(inputs: AttentionInputs) -> list[slice]:
    _, heads, rows, keys = inputs.weights_shape
    return row_blocks(rows, heads * keys, SCORES_AT_ONCE[inputs.q.device.type])


def _spread(total: int, most: int) -> Tensor:
    """At most so many of 0 … total − 1, evenly spread with both ends, and at least one: int64."""
    count = max(1, min(total, most))
    return torch.linspace(0, total - 1, count, dtype=torch.float64).round().to(torch.int64)


def _home(device: torch.device) -> torch.device:
    """Where float64 is computed: Apple's GPUs have none."""
    return device if device.type == "cuda" else torch.device("cpu")
