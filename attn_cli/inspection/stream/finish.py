"""From the sums of an item's rows to their values, their output and the weights of their cells."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from attn_cli.inspection.areas import Area
from attn_cli.inspection.call import Call
from attn_cli.inspection.logits import VISIBLE_ABOVE
from attn_cli.inspection.rows import RowValues
from attn_cli.inspection.stream.online import lowest_exponent
from attn_cli.inspection.stream.sums import RowSums

SMALLEST_REFERENCE = -1e29  # below, a bias of about −1e30 or less decides the row, and the loop has cut it off there
ENTROPY_AT_LEAST = 0.5  # nats; below, sums whose reference stayed 0 would leave too few digits of the entropy


@dataclass(frozen=True)
class Measured:
    """What is known of an item's rows besides their values.

    Attributes:
        output: ``(b, h, r, Dv)``.
        cells: the logarithm of the largest weight of each cell of the picture, ``(b, h, r, C)``, NaN where any is NaN;
            so that the smallest weights can be told apart too.
        of_visible: the same of visible keys whose weight is a number, less than VISIBLE_ABOVE where there is none.
        strongest: the largest of each row of these, ``(b, h, r)``.
    """

    output: Tensor
    cells: Tensor
    of_visible: Tensor
    strongest: Tensor


def finish(call: Call, item: Area, sums: RowSums, values: RowValues, outputs: Tensor) -> Measured | None:
    """Turn the sums of an item's rows into their values.

    Args:
        call: the call.
        item: where the rows lie.
        sums: over all keys; the cells become the logarithms of weights.
        values: of the rows; filled in, but for what follows from the output.
        outputs: ``(B, Hq, Sq, Dv)``, where the output goes if it lies on the same device.

    Returns:
        What was found; None where these sums do not have the digits for it.
    """
    largest = sums.cells.amax(dim=-1)  # (b, h, r)
    live = largest > VISIBLE_ABOVE
    z = torch.where(live, sums.sums[1], 1.0)
    softmax = _with_sinks(call, item, live, torch.where(live, sums.reference, 0.0), z)
    each = softmax.each
    entropy = (z * softmax.log_total - sums.sums[0]).mul_(each)
    room = outputs[item.place] if outputs.device == sums.output.device else sums.output
    output = torch.mul(sums.output, each[..., None], out=room)  # (b, h, r, Dv)
    if not _has_digits(sums, live, entropy, output):
        return None
    values.lse.copy_(torch.where(live, sums.reference + z.log(), -torch.inf))
    values.reference.copy_(softmax.reference)
    values.total.copy_(softmax.total)
    values.entropy.copy_(entropy)
    values.peak.copy_(torch.exp(largest.clamp(min=lowest_exponent(call.dtype))) * each)
    unbiased = sums.largest if sums.largest.numel() else sums.reference + largest
    values.max_logit.copy_(torch.where(live, unbiased, -torch.inf))
    goals = (values.distance, values.duplicate, values.induction)
    for goal, x in zip(goals, sums.sums[2:], strict=False):
        if goal is not None:
            goal.copy_(x * each)
    cells = sums.cells.sub_(softmax.log_total[..., None])
    return Measured(output, cells, cells, largest - softmax.log_total)


@dataclass(frozen=True)
class _Softmax:
    """The denominator of a row's weights, ``(b, h, r)`` each.

    Attributes:
        reference: m, or the sink where it is larger: weights are formed with it.
        total: T = Σ exp(logit − reference), the sink among the logits.
        each: 1 / Σ exp(logit − m), 0 where no key is visible.
        log_total: ln Σ exp(logit − m), also where the sum overflows.
    """

    reference: Tensor
    total: Tensor
    each: Tensor
    log_total: Tensor


def _with_sinks(call: Call, item: Area, live: Tensor, reference: Tensor, z: Tensor) -> _Softmax:
    """A row without a visible key refers to its sink alone."""
    if call.inputs.rules.sinks is None:
        return _Softmax(reference, z, live / z, z.log())
    sinks = call.inputs.rules.sinks[item.heads, None]  # (h, 1)
    sink = torch.where(live, sinks - reference, -torch.inf)
    above = sink.clamp(min=0.0)  # a sink far above m overflows beside it
    total = z * torch.exp(-above) + torch.exp(sink - above)
    alone = torch.where(sinks == -torch.inf, 0.0, sinks)
    return _Softmax(
        reference=torch.where(live, torch.maximum(reference, sinks), alone),
        total=total,
        each=live * torch.exp(-above) / total,
        log_total=torch.logaddexp(z.log(), sink),
    )


def _has_digits(sums: RowSums, live: Tensor, entropy: Tensor, output: Tensor) -> bool:
    if not bool(output.sum().isfinite()):
        return False
    if sums.follows:
        return float(torch.where(live, sums.reference, 0.0).amin()) > SMALLEST_REFERENCE
    of_heads = entropy.sum(dim=-1) >= ENTROPY_AT_LEAST * live.sum(dim=-1)  # (b, h)
    return bool(of_heads.all())
